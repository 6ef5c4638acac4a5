{{/* The pod of a command that ends: (dict "root" $ "name" "cleanup" "args" (list "cleanup" "--once")). */}}
{{- define "dosestream.once" -}}
metadata:
  labels:
    {{- include "dosestream.labels" . | nindent 4 }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  # Or a Service named dosestream-worklist would set DOSESTREAM_WORKLIST_PORT.
  enableServiceLinks: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 40
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "dosestream.podSecurity" . | nindent 4 }}
  containers:
    - name: {{ .name }}
      {{- include "dosestream.image" . | nindent 6 }}
      args: {{ .args | toJson }}
      env:
        {{- include "dosestream.environment" . | nindent 8 }}
      resources:
        {{- toYaml (index .root.Values .name).resources | nindent 8 }}
      securityContext:
        {{- include "dosestream.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "dosestream.mounts" . | nindent 8 }}
  volumes:
    {{- include "dosestream.volumes" . | nindent 4 }}
{{- end }}
