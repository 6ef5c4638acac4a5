{{/* Labels by which a service is selected; name them by (dict "root" $ "name" "ingest"). */}}
{{- define "dosestream.selector" -}}
app.kubernetes.io/name: dosestream
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "dosestream.labels" -}}
{{ include "dosestream.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* The name of a service's objects. */}}
{{- define "dosestream.name" -}}
{{ .root.Release.Name }}-{{ .name }}
{{- end }}

{{/* A service's user on the brokers. */}}
{{- define "dosestream.user" -}}
{{ .root.Release.Name }}-{{ eq .name "prepare" | ternary "admin" .name }}
{{- end }}

{{/* How a service speaks with the brokers. The worklist does not: no secret of its own is asked for. */}}
{{- define "dosestream.protocol" -}}
{{ eq .name "worklist" | ternary "PLAINTEXT" .root.Values.kafka.security.protocol }}
{{- end }}

{{- define "dosestream.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "dosestream.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Variables of every service; "more" adds a service's own. */}}
{{- define "dosestream.environment" -}}
- {name: DOSESTREAM_CONFIG, value: /etc/dosestream/dosestream.toml}
- {name: DOSESTREAM_KAFKA, value: {{ .root.Values.kafka.bootstrap | quote }}}
{{- with .root.Values.kafka.schemaRegistry }}
- {name: DOSESTREAM_SCHEMA_REGISTRY, value: {{ . | quote }}}
{{- end }}
- {name: DOSESTREAM_POSTGRES, value: {{ .root.Values.postgres.url | quote }}}
- {name: DOSESTREAM_POSTGRES_PASSWORD_FILE, value: /run/secrets/dosestream/postgres_password}
- {name: DOSESTREAM_PATIENT_KEY_SECRET_FILE, value: /run/secrets/dosestream/patient_key}
- {name: DOSESTREAM_METRICS_HOST, value: "0.0.0.0"}
- {name: DOSESTREAM_METRICS_PORT, value: {{ .root.Values.metrics.port | quote }}}
{{- $protocol := include "dosestream.protocol" . }}
{{- if ne $protocol "PLAINTEXT" }}
- {name: DOSESTREAM_KAFKA_SECURITY_PROTOCOL, value: {{ $protocol }}}
{{- end }}
{{- if has $protocol (list "SSL" "SASL_SSL") }}
- {name: DOSESTREAM_KAFKA_CA_FILE, value: /run/secrets/dosestream/kafka_ca.pem}
{{- end }}
{{- if hasPrefix "SASL" $protocol }}
- {name: DOSESTREAM_KAFKA_USER, value: {{ include "dosestream.user" . }}}
- {name: DOSESTREAM_KAFKA_PASSWORD_FILE, value: /run/secrets/dosestream/kafka_password}
{{- end }}
{{- range $name, $value := .more }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $value := .root.Values.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "dosestream.mounts" -}}
- {name: config, mountPath: /etc/dosestream, readOnly: true}
- {name: secrets, mountPath: /run/secrets/dosestream, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{/* "config" names another ConfigMap than that of the services. */}}
{{- define "dosestream.volumes" -}}
- name: config
  configMap: {name: {{ .config | default (printf "%s-config" .root.Release.Name) }}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .root.Values.postgres.passwordSecret.name }}
          items: [{key: {{ .root.Values.postgres.passwordSecret.key }}, path: postgres_password}]
      - secret:
          name: {{ .root.Values.patientKeySecret.name }}
          items: [{key: {{ .root.Values.patientKeySecret.key }}, path: patient_key}]
      {{- $protocol := include "dosestream.protocol" . }}
      {{- with .root.Values.kafka.security }}
      {{- if has $protocol (list "SSL" "SASL_SSL") }}
      - secret:
          name: {{ .caSecret.name }}
          items: [{key: {{ .caSecret.key }}, path: kafka_ca.pem}]
      {{- end }}
      {{- end }}
      {{- if hasPrefix "SASL" $protocol }}
      - secret:
          name: {{ include "dosestream.user" . }}
          items: [{key: password, path: kafka_password}]
      {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{- define "dosestream.image" -}}
image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{/* The pod of a service that stays up: (dict "root" $ "name" "ingest" "ports" (dict "mllp" 2575) "more" (dict) "state" true). */}}
{{- define "dosestream.pod" -}}
metadata:
  labels:
    {{- include "dosestream.labels" . | nindent 4 }}
  annotations:
    # A changed configuration starts the pods anew, one after the other.
    checksum/config: {{ .root.Values.config | sha256sum }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  # Or a Service named dosestream-worklist would set DOSESTREAM_WORKLIST_PORT.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 40
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "dosestream.podSecurity" . | nindent 4 }}
  # Replicas on nodes of their own where there are as many.
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "dosestream.selector" . | nindent 10 }}
  containers:
    - name: {{ .name }}
      {{- include "dosestream.image" . | nindent 6 }}
      args: [{{ .name }}]
      env:
        {{- include "dosestream.environment" . | nindent 8 }}
      ports:
        {{- range $name, $port := .ports }}
        - {name: {{ $name }}, containerPort: {{ $port }}}
        {{- end }}
        - {name: metrics, containerPort: {{ .root.Values.metrics.port }}}
      startupProbe:
        httpGet: {path: /health/live, port: metrics}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /health/ready, port: metrics}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      lifecycle:
        # The end of new connections reaches every node before the listener closes.
        preStop: {exec: {command: [sleep, "5"]}}
      resources:
        {{- toYaml (index .root.Values .name).resources | nindent 8 }}
      securityContext:
        {{- include "dosestream.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "dosestream.mounts" . | nindent 8 }}
        {{- if .state }}
        - {name: state, mountPath: /var/lib/dosestream}
        {{- end }}
  volumes:
    {{- include "dosestream.volumes" . | nindent 4 }}
{{- end }}
