{{- define "name" -}}{{ contains "scim-witness" .Release.Name | ternary .Release.Name (printf "%s-scim-witness" .Release.Name) | trunc 52 | trimSuffix "-" }}{{- end }}
{{- define "selector" -}}
app.kubernetes.io/name: scim-witness
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
