{{- define "modelfleet.gateway.name" -}}
{{ include "modelfleet.fullname" . }}-gateway
{{- end -}}

{{- define "modelfleet.gateway.controlname" -}}
{{ include "modelfleet.gateway.name" . }}-control
{{- end -}}

{{/* component is `gateway` (the Envoys) or `gateway-control`: the operator finds both by it. */}}
{{- define "modelfleet.gateway.selectorLabels" -}}
app.kubernetes.io/name: modelfleet-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "modelfleet.gateway.labels" -}}
{{ include "modelfleet.gateway.selectorLabels" . }}
app.kubernetes.io/part-of: modelfleet
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* Whether the gateway outlives the release: helm uninstall leaves what says so. */}}
{{- define "modelfleet.gateway.kept" -}}
{{- if .Values.gateway.keepOnUninstall -}}
annotations:
  helm.sh/resource-policy: keep
{{- end -}}
{{- end -}}

{{/* One port for requests: the chart's choice of TLS decides which. */}}
{{- define "modelfleet.gateway.requestPort" -}}
{{- if .Values.gateway.tls.secretName }}8443{{ else }}8080{{ end -}}
{{- end -}}

{{/* Where clients inside the cluster find it. */}}
{{- define "modelfleet.gateway.url" -}}
http{{ if .Values.gateway.tls.secretName }}s{{ end }}://{{ include "modelfleet.gateway.name" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "modelfleet.gateway.image" -}}
{{- with .Values.gateway.envoy.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Where pods of the gateway may run. */}}
{{- define "modelfleet.gateway.placement" -}}
{{- with .root.Values.gateway.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.gateway.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.topologyKey }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "modelfleet.gateway.selectorLabels" $ | nindent 8 }}
{{- end }}
{{- end -}}

{{/* What the control process reads. Secrets are not here: a Role of its own namespace has them. */}}
{{- define "modelfleet.gateway.rules" -}}
- apiGroups: [modelfleet.dev]
  resources: [llmdeployments]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Who owns a pod: a label alone puts none into a route.
- apiGroups: [apps]
  resources: [replicasets, deployments]
  verbs: [list, watch]
{{- end -}}

{{- define "modelfleet.gateway.subjects" -}}
- kind: ServiceAccount
  name: {{ include "modelfleet.gateway.controlname" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
