{{/* The name of every object of the release: at most 50 characters, so that suffixes fit. */}}
{{- define "modelfleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide objects carry the namespace too: two releases of one name do not collide. */}}
{{- define "modelfleet.clustername" -}}
{{- if contains .Release.Namespace (include "modelfleet.fullname" .) -}}
{{- include "modelfleet.fullname" . -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "modelfleet.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "modelfleet.selectorLabels" -}}
app.kubernetes.io/name: modelfleet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "modelfleet.labels" -}}
{{ include "modelfleet.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: modelfleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "modelfleet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "modelfleet.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false: set serviceAccount.name to the ServiceAccount to use." .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "modelfleet.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What one key's schema cannot see: values that only make sense together. */}}
{{- define "modelfleet.checkValues" -}}
{{- with .Values.prometheus -}}
{{- if and (not .url) (or .headersSecret .caSecret) -}}
{{- fail "prometheus.headersSecret or prometheus.caSecret is set but prometheus.url is empty: set prometheus.url to the server they are for." -}}
{{- end -}}
{{- if and .caSecret (hasPrefix "http://" .url) -}}
{{- fail "prometheus.caSecret is set but prometheus.url is plain http: use https:// or remove caSecret." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do with LLMDeployments and with what it makes of them. Nothing here
     reads a Secret, writes a spec of an LLMDeployment or deletes a pod: pods go by way of
     their Deployment. */}}
{{- define "modelfleet.rules" -}}
- apiGroups: [modelfleet.dev]
  resources: [llmdeployments]
  verbs: [get, list, watch]
- apiGroups: [modelfleet.dev]
  resources: [llmdeployments/status]
  verbs: [patch, update]
# Templates are written once; replicas go through the scale subresource.
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch, update]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Patch: the rotation label and the deletion cost of a replica that is to leave.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "modelfleet.subjects" -}}
- kind: ServiceAccount
  name: {{ include "modelfleet.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
