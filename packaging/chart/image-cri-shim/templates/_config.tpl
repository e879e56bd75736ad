{{/* The path on the nodes of the logins in authSecret. */}}
{{- define "image-cri-shim.authFile" -}}/etc/image-cri-shim/auth.json{{- end }}

{{/* The configuration as YAML, with authFile if authSecret is set. */}}
{{- define "image-cri-shim.config" -}}
{{- $config := .Values.config -}}
{{- $keys := $config -}}
{{- if kindIs "string" $config }}{{ $keys = fromYaml $config }}{{ end -}}
{{- $authFile := and .Values.authSecret (not (hasKey $keys "authFile")) -}}
{{- if kindIs "string" $config -}}
{{ trimSuffix "\n" $config }}
{{ if $authFile }}authFile: {{ include "image-cri-shim.authFile" . }}
{{ end }}
{{- else -}}
{{- if $authFile }}{{ $keys = merge (dict "authFile" (include "image-cri-shim.authFile" .)) $config }}{{ end -}}
{{ toYaml $keys }}
{{ end }}
{{- end }}

{{/* The data of the Secret with the configuration. */}}
{{- define "image-cri-shim.data" -}}
image-cri-shim.yaml: {{ include "image-cri-shim.config" . | b64enc }}
{{- range $name, $content := .Values.files }}
{{ $name }}: {{ $content | b64enc }}
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
    name: {{ include "image-cri-shim.secretName" . }}
{{- end }}
{{- if .Values.authSecret }}
- secret:
    name: {{ .Values.authSecret }}
    items:
      - key: .dockerconfigjson
        path: auth.json
{{- end }}
{{- end }}
