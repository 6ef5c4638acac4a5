{{/* A stateful service that listens: its StatefulSet, the Service before it, and its disruption budget. */}}
{{- define "dosestream.listener" -}}
{{- $values := index .root.Values .name }}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "dosestream.name" . }}
  labels:
    {{- include "dosestream.labels" . | nindent 4 }}
spec:
  {{- if not (dig "autoscaling" "enabled" false $values) }}
  replicas: {{ $values.replicas }}
  {{- end }}
  serviceName: {{ include "dosestream.name" . }}-pods
  podManagementPolicy: Parallel
  updateStrategy: {type: RollingUpdate}
  selector:
    matchLabels:
      {{- include "dosestream.selector" . | nindent 6 }}
  template:
    {{- include "dosestream.pod" . | nindent 4 }}
  volumeClaimTemplates:
    - metadata: {name: state}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $values.storage.className }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ $values.storage.size }}}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "dosestream.name" . }}-pods
  labels:
    {{- include "dosestream.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "dosestream.selector" . | nindent 4 }}
  ports:
    - {name: metrics, port: {{ .root.Values.metrics.port }}, targetPort: metrics}
---
{{ include "dosestream.front" . }}
{{- end }}

{{/* What stands before the pods of a service that listens. */}}
{{- define "dosestream.front" -}}
{{- $values := index .root.Values .name }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "dosestream.name" . }}
  labels:
    {{- include "dosestream.labels" . | nindent 4 }}
  {{- with $values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $values.service.type }}
  {{- if ne $values.service.type "ClusterIP" }}
  externalTrafficPolicy: {{ $values.service.externalTrafficPolicy }}
  {{- end }}
  selector:
    {{- include "dosestream.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - {name: {{ $name }}, port: {{ $port }}, targetPort: {{ $name }}}
    {{- end }}
---
{{ include "dosestream.budget" . }}
{{- end }}

{{- define "dosestream.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "dosestream.name" . }}
  labels:
    {{- include "dosestream.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "dosestream.selector" . | nindent 6 }}
{{- end }}
