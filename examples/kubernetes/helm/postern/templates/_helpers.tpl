{{- define "postern.name" -}}
{{ .Release.Name }}
{{- end }}
{{- define "postern.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "postern.labels" -}}
{{ include "postern.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "postern.storage" -}}
{{- with .Values.config.storage }}{{ .type | default "sqlite" }}{{ else }}sqlite{{ end -}}
{{- end }}
