{{/* Fails if values exclude each other or contain passwords. values.schema.json checks each
value before. */}}
{{- define "image-cri-shim.check" -}}
{{- $values := .Values -}}
{{- if and $values.existingSecret (or $values.config $values.files) -}}
{{- fail (printf "existingSecret is set together with %s; put all of it into the Secret %s, or remove existingSecret" (ternary "config" "files" (not (empty $values.config))) $values.existingSecret) -}}
{{- end -}}
{{- if and $values.live $values.compatibility.sealosConfigMap -}}
{{- fail "live and compatibility.sealosConfigMap are both true; agents can watch only one object" -}}
{{- end -}}
{{- $config := $values.config -}}
{{- if kindIs "string" $config -}}
{{- $config = fromYaml $config -}}
{{- with $config.Error -}}
{{- fail (printf "config is not valid YAML: check %s" (regexFind "line [0-9]+" . | default "that it has keys and values")) -}}
{{- end -}}
{{- end -}}
{{- $passwords := include "image-cri-shim.passwords" (dict "path" "config" "value" $config) | trim -}}
{{- if and $passwords (not $values.allowPasswordsInValues) -}}
{{- fail (printf "%s: found a password in the values, which Helm stores in the cluster; create a Secret of type kubernetes.io/dockerconfigjson and set authSecret, or a Secret with the whole configuration and set existingSecret; allowPasswordsInValues: true permits it" ($passwords | replace "\n" ", ")) -}}
{{- end -}}
{{- range $name, $content := $values.files -}}
{{- if has $name (list "image-cri-shim.yaml" "auth.json") -}}
{{- fail (printf "files.%s: this name is reserved; use %s" $name (ternary "config" "authSecret" (eq $name "image-cri-shim.yaml"))) -}}
{{- end -}}
{{- if contains "PRIVATE KEY-----" $content -}}
{{- fail (printf "files.%s: found a private key in the values, which Helm stores in the cluster; use existingSecret" $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The paths of passwords, one on each line. Argument: a dict of path and value. */}}
{{- define "image-cri-shim.passwords" -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- if and $value (has (lower $key) (list "auth" "password")) -}}
{{ $path }}.{{ $key }}
{{ else -}}
{{ include "image-cri-shim.passwords" (dict "path" (printf "%s.%s" $path $key) "value" $value) }}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{ include "image-cri-shim.passwords" (dict "path" (printf "%s[%d]" $path $index) "value" $value) }}
{{- end -}}
{{- else if and (kindIs "string" .value) (regexMatch "://[^/]*@" .value) -}}
{{ $path }}
{{ end -}}
{{- end }}
