{{/* sluice.name is what all objects' names begin with. */}}
{{- define "sluice.name" -}}
{{- .Values.nameOverride | default .Release.Name | trunc 38 | trimSuffix "-" -}}
{{- end -}}

{{- define "sluice.edge.name" -}}{{ include "sluice.name" . }}-edge{{- end -}}
{{- define "sluice.router.name" -}}{{ include "sluice.name" . }}-router{{- end -}}
{{- define "sluice.triton.name" -}}{{ include "sluice.name" . }}-triton{{- end -}}

{{/* sluice.selector takes (dict "root" $ "component" "edge"): the labels that never change, by which pods are found. */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* sluice.labels takes the same: the labels of every object. */}}
{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: sluice
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* sluice.image takes (dict "root" $ "image" .Values.edge.image). */}}
{{- define "sluice.image" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ .image.name }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{/* sluice.account takes (dict "root" $ "component" "edge"): the name of a component's ServiceAccount. */}}
{{- define "sluice.account" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create }}{{ $account.name | default (printf "%s-%s" (include "sluice.name" .root) .component) }}{{ else }}{{ $account.name | default "default" }}{{ end -}}
{{- end -}}

{{/* sluice.pod takes (dict "root" $ "component" "edge"): what the pods of edges and routers have in common. Pod Security's level restricted is the rule. */}}
{{- define "sluice.pod" -}}
{{- $values := index .root.Values .component -}}
{{- $ends := add $values.preStopSeconds $values.drainSeconds 3 -}}
{{- if gt $ends (int64 $values.terminationGracePeriodSeconds) -}}
{{- fail (printf "%s: preStopSeconds and drainSeconds and 3 s for what is left to do are %d s, more than terminationGracePeriodSeconds" .component $ends) -}}
{{- end -}}
serviceAccountName: {{ include "sluice.account" . }}
automountServiceAccountToken: false
# The links' variables are called SLUICE_… where the release is called sluice, and the services would read them as configuration.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.topologySpread.enabled }}
topologySpreadConstraints:
  - maxSkew: {{ $values.topologySpread.maxSkew }}
    topologyKey: {{ $values.topologySpread.topologyKey }}
    whenUnsatisfiable: {{ $values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "sluice.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/* sluice.confined is the security context of every container. */}}
{{- define "sluice.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* sluice.lingers takes a component's values: how its pods end. */}}
{{- define "sluice.lingers" -}}
{{- if .preStopSeconds -}}
lifecycle: {preStop: {sleep: {seconds: {{ .preStopSeconds }}}}}
{{- end -}}
{{- end -}}

{{/* sluice.scrape takes (dict "root" $ "port" 8081): annotations for a Prometheus that finds pods by them. */}}
{{- define "sluice.scrape" -}}
{{- if .root.Values.monitoring.annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end -}}

{{/* sluice.disruption takes (dict "root" $ "component" "edge"). A single pod may be disrupted: who cares about that runs two. */}}
{{- define "sluice.disruption" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.disruption.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "sluice.name" .root }}-{{ .component }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $values.disruption.maxUnavailable }}
  # A pod that is not ready serves nobody and need not be waited for.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "sluice.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* sluice.autoscaler takes (dict "root" $ "component" "edge" "kind" "StatefulSet"). */}}
{{- define "sluice.autoscaler" -}}
{{- $values := index .root.Values .component -}}
{{- $name := printf "%s-%s" (include "sluice.name" .root) .component -}}
{{- if $values.autoscaling.enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: {{ .kind }}, name: {{ $name }}}
  minReplicas: {{ $values.autoscaling.min }}
  maxReplicas: {{ $values.autoscaling.max }}
  metrics: {{- toYaml $values.autoscaling.metrics | nindent 4 }}
  behavior: {{- toYaml $values.autoscaling.behavior | nindent 4 }}
{{- end }}
{{- end -}}

{{/* sluice.serviceaccount takes (dict "root" $ "component" "edge"). */}}
{{- define "sluice.serviceaccount" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "sluice.account" . }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
  {{- with $values.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}
