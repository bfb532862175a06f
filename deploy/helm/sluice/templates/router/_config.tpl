{{/* sluice.router.models is the models as the router gets them. */}}
{{- define "sluice.router.models" -}}
{{- tpl (toYaml .Values.router.models) . -}}
{{- end -}}

{{/* sluice.router.config is what takes a restart: all but the models. */}}
{{- define "sluice.router.config" -}}
{{- $config := dict
  "listen" ":50051"
  "admin" (dict "listen" ":8082")
  "log" (dict "format" "json")
  "trace" .Values.trace
  "watch" "5s"
  "drain" (printf "%ds" (int .Values.router.drainSeconds))
-}}
{{- with .Values.mtls -}}
{{- if .enabled -}}
{{- $_ := set $config "tls" (dict "cert" "/etc/sluice-mtls/tls.crt" "key" "/etc/sluice-mtls/tls.key" "client_ca" "/etc/sluice-mtls/ca.crt" "client_names" .edgeNames) -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.router.config)) -}}
{{- end -}}
