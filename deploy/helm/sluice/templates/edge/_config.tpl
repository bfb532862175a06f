{{/* sluice.edge.count is how many edges there can be: each has a configuration, and where clients reach it by itself a Service. */}}
{{- define "sluice.edge.count" -}}
{{- $scaling := .Values.edge.autoscaling -}}
{{- if $scaling.enabled }}{{ max $scaling.max .Values.edge.replicas }}{{ else }}{{ .Values.edge.replicas }}{{ end -}}
{{- end -}}

{{/* sluice.edge.port takes (dict "root" $ "index" 0): the port of an edge's media. */}}
{{- define "sluice.edge.port" -}}
{{- if eq .root.Values.edge.ice.mode "nodePort" }}{{ add .root.Values.edge.ice.nodePort.first .index }}{{ else }}8189{{ end -}}
{{- end -}}

{{/* sluice.edge.tellsNode is true where clients are told the node's address, which each pod learns when it starts. */}}
{{- define "sluice.edge.tellsNode" -}}
{{- if and (has .Values.edge.ice.mode (list "nodePort" "hostPort")) (not .Values.edge.ice.addresses) }}true{{ end -}}
{{- end -}}

{{/* sluice.edge.config takes (dict "root" $ "index" 0): the configuration of one edge. */}}
{{- define "sluice.edge.config" -}}
{{- $edge := .root.Values.edge -}}
{{- $port := printf ":%s" (include "sluice.edge.port" .) -}}
{{- $addresses := $edge.ice.addresses -}}
{{- if lt (int .index) (len $edge.ice.podAddresses) }}{{ $addresses = index $edge.ice.podAddresses (int .index) }}{{ end -}}
{{- if and (eq $edge.ice.mode "loadBalancer") (not $addresses) -}}
{{- fail (printf "edge.ice.podAddresses: there can be %s edges, and for number %d there is no address that clients reach it by" (include "sluice.edge.count" .root) (int .index)) -}}
{{- end -}}
{{- $http := dict "listen" ":8080" "public_url" $edge.publicURL -}}
{{- if $edge.tlsSecret }}{{ $_ := set $http "tls" (dict "cert" "/etc/sluice-https/tls.crt" "key" "/etc/sluice-https/tls.key") }}{{ end -}}
{{- $router := dict "target" (printf "dns:///%s:50051" (include "sluice.router.name" .root)) -}}
{{- with .root.Values.mtls -}}
{{- if .enabled }}{{ $_ := set $router "tls" (dict "ca" "/etc/sluice-mtls/ca.crt" "cert" "/etc/sluice-mtls/tls.crt" "key" "/etc/sluice-mtls/tls.key" "name" .routerName) }}{{ end -}}
{{- end -}}
{{- $name := include "sluice.edge.name" .root -}}
{{- $config := dict
  "http" $http
  "ice" (dict "udp" $port "tcp" (ternary $port "" $edge.ice.tcp) "addresses" $addresses)
  "router" $router
  "cluster" (dict "name" (printf "%s-%d" $name (int .index)) "domain" (printf "%s-members.%s.svc.%s" $name .root.Release.Namespace .root.Values.clusterDomain) "port" 8080)
  "grpc" (dict "listen" ":50052")
  "admin" (dict "listen" ":8081")
  "log" (dict "format" "json")
  "trace" .root.Values.trace
  "drain" (printf "%ds" (int $edge.drainSeconds))
-}}
{{- toYaml (mergeOverwrite $config (deepCopy $edge.config)) -}}
{{- end -}}
