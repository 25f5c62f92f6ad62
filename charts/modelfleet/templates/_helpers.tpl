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
{{- if and .Values.gateway.ingress.enabled .Values.gateway.tls.secretName -}}
{{- fail "gateway.ingress is enabled and gateway.tls.secretName is set: an Ingress speaks plain HTTP to the gateway. Put the Secret into gateway.ingress.tls, or use gateway.service.type LoadBalancer without an Ingress." -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- $version := regexFind "[0-9]+[.][0-9]+" (regexFind "^([a-z]+-)*v?[0-9]+[.][0-9]+" (default "" .envoy.image.tag)) -}}
{{- if and .enabled $version (not .envoy.image.digest) (semverCompare "<1.40" $version) -}}
{{- fail (printf "gateway.envoy.image.tag is %s, but the gateway needs Envoy 1.40 or newer: with the first rollout of any model an older one would refuse the routes of all. Use 1.40, or set gateway.envoy.image.digest if this image has it under another name." .envoy.image.tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Who reaches engine pods, as peers of a NetworkPolicy: the Envoys, those who scrape, and whom the values admit. */}}
{{- define "modelfleet.enginePeers" -}}
{{- $name := "kubernetes.io/metadata.name" -}}
{{- $envoys := include "modelfleet.gateway.selectorLabels" (dict "root" . "component" "gateway") | fromYaml -}}
{{- $peers := list (dict "namespaceSelector" (dict "matchLabels" (dict $name .Release.Namespace)) "podSelector" (dict "matchLabels" $envoys)) -}}
{{- $namespaces := .Values.engines.networkPolicy.prometheusNamespaces -}}
{{- $service := "^https?://[^./:]+\\.([^./:]+)\\.svc([.:/].*)?$" -}}
{{- if and (not $namespaces) .Values.prometheus.url -}}
{{- if not (regexMatch $service .Values.prometheus.url) -}}
{{- fail "engines.networkPolicy cannot tell from prometheus.url where Prometheus runs: set engines.networkPolicy.prometheusNamespaces to the namespaces that engines are scraped from, or engines.networkPolicy.enabled to false." -}}
{{- end -}}
{{- $namespaces = list (regexReplaceAll $service .Values.prometheus.url "${1}") -}}
{{- end -}}
{{- range $namespaces -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict $name .))) -}}
{{- end -}}
{{- toJson (concat $peers .Values.engines.networkPolicy.admit) -}}
{{- end -}}

{{/* What the operator may do with LLMDeployments and with what it makes of them. Nothing here
     reads a Secret, writes a spec of an LLMDeployment or deletes a pod: pods go by way of
     their Deployment or Job. */}}
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
# An evaluation is a Job from the jobTemplate of a CronJob; it is never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# For routing.provider GatewayAPI; no Gateway is read, its answer stands in the route's status.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Patch: the rotation label and the deletion cost of a replica that is to leave.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
# How many devices a namespace may have.
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list, watch]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "modelfleet.subjects" -}}
- kind: ServiceAccount
  name: {{ include "modelfleet.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
