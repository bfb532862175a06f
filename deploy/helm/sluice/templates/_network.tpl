{{/* sluice.network.port takes an address like dns:///triton:8001, which is gRPC's and may name a DNS server before, or wss://host/path: its port. */}}
{{- define "sluice.network.port" -}}
{{- $host := . -}}
{{- if regexMatch "^(ws|http|grpc)s?://" . }}{{ $host = get (urlParse .) "host" }}{{ end -}}
{{- regexFind ":[0-9]+$" $host | trimPrefix ":" | default (ternary "80" "443" (regexMatch "^(ws|http)://" .)) -}}
{{- end -}}

{{/* sluice.network.traces is the rule that lets traces out, if there are any. */}}
{{- define "sluice.network.traces" -}}
{{- with .Values.trace.endpoint -}}
- ports: [{port: {{ include "sluice.network.port" . }}}]
{{- end -}}
{{- end -}}

{{/* sluice.network.models takes the models, expanded: the ports of their servers, each once, as a JSON list. */}}
{{- define "sluice.network.models" -}}
{{- $ports := list -}}
{{- range . -}}
{{- with (.backend | default dict).oip }}{{ range .targets }}{{ $ports = append $ports (include "sluice.network.port" . | int) }}{{ end }}{{ end -}}
{{- with (.backend | default dict).websocket -}}
{{- range (.urls | default (list .url)) }}{{ $ports = append $ports (include "sluice.network.port" . | int) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
