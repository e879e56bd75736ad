{{/* The path on the nodes of the logins in authSecret. */}}
{{- define "image-cri-shim.authFile" -}}/etc/image-cri-shim/auth.json{{- end }}

{{/* The address of the shim's metrics, if the configuration sets none. */}}
{{- define "image-cri-shim.metricsSocket" -}}unix:///run/image-cri-shim/metrics.sock{{- end }}

{{/* The port of the agent's metrics, or nothing. Values of an older chart have no key metrics. */}}
{{- define "image-cri-shim.metricsPort" -}}
{{- with .Values.metrics }}{{ if .enabled }}{{ include "image-cri-shim.number" .port }}{{ end }}{{ end }}
{{- end }}

{{/* The configuration as YAML, with authFile if authSecret is set, and with metrics if they are
enabled. A text stays as it is unless a key is added. */}}
{{- define "image-cri-shim.config" -}}
{{- $config := .Values.config | default dict -}}
{{- $keys := $config -}}
{{- if kindIs "string" $config }}{{ $keys = fromYaml $config }}{{ end -}}
{{- $added := dict -}}
{{- if and .Values.authSecret (not $keys.authFile) }}{{ $_ := set $added "authFile" (include "image-cri-shim.authFile" .) }}{{ end -}}
{{- if and (include "image-cri-shim.metricsPort" .) (not $keys.metrics) }}{{ $_ := set $added "metrics" (include "image-cri-shim.metricsSocket" .) }}{{ end -}}
{{- if $added -}}
{{- $keys = deepCopy $keys -}}
{{- range $name, $value := $added }}{{ $_ := set $keys $name $value }}{{ end -}}
{{ toYaml $keys }}
{{ else if kindIs "string" $config -}}
{{ trimSuffix "\n" $config }}
{{ else -}}
{{ toYaml $config }}
{{ end }}
{{- end }}

{{/* The data of the Secret with the configuration. */}}
{{- define "image-cri-shim.data" -}}
image-cri-shim.yaml: {{ include "image-cri-shim.config" . | b64enc | quote }}
{{- range $name, $content := .Values.files }}
{{ $name | quote }}: {{ $content | b64enc | quote }}
{{- end }}
{{- end }}

{{/* The name of the Secret with the configuration: existingSecret, with live a fixed name, and
otherwise a name for this content. */}}
{{- define "image-cri-shim.secretName" -}}
{{- if .Values.existingSecret -}}
{{ .Values.existingSecret }}
{{- else if .Values.live -}}
{{ include "image-cri-shim.fullname" . }}-live
{{- else -}}
{{ include "image-cri-shim.fullname" . }}-{{ include "image-cri-shim.data" . | sha256sum | trunc 10 }}
{{- end }}
{{- end }}

{{/* The Secrets in the volume with the configuration, as sources of a projected volume. With
live, the agent reads the Secret with the configuration through the apiserver. */}}
{{- define "image-cri-shim.configSources" -}}
{{- if not .Values.live }}
- secret:
    name: {{ include "image-cri-shim.secretName" . | quote }}
{{- end }}
{{- if .Values.authSecret }}
- secret:
    name: {{ .Values.authSecret | quote }}
    items:
      - key: .dockerconfigjson
        path: auth.json
{{- end }}
{{- end }}
