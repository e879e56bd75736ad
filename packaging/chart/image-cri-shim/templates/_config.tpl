{{/* The path on the nodes of the logins in authSecret. */}}
{{- define "image-cri-shim.authFile" -}}/etc/image-cri-shim/auth.json{{- end }}

{{/* The configuration as YAML, with authFile if authSecret is set. A text stays as it is unless
authFile is added. */}}
{{- define "image-cri-shim.config" -}}
{{- $config := .Values.config | default dict -}}
{{- $keys := $config -}}
{{- if kindIs "string" $config }}{{ $keys = fromYaml $config }}{{ end -}}
{{- if and .Values.authSecret (not $keys.authFile) -}}
{{ set (deepCopy $keys) "authFile" (include "image-cri-shim.authFile" .) | toYaml }}
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
