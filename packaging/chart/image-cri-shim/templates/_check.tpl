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
{{- if include "image-cri-shim.hasDocuments" $config -}}
{{- fail "config has several documents; put all keys into one" -}}
{{- end -}}
{{- $config = fromYaml $config -}}
{{- with $config.Error -}}
{{- fail (printf "config is not valid YAML: check %s" (regexFind "line [0-9]+" (toString .) | default "that it has keys and values")) -}}
{{- end -}}
{{- end -}}
{{- with include "image-cri-shim.metricsPort" . -}}
{{- $address := toString (($config | default dict).metrics | default "") -}}
{{- if and (regexMatch (printf "^[^/]+:%s$" .) $address) (not (regexMatch "^(127\\.|localhost:|\\[::1\\])" $address)) -}}
{{- fail (printf "metrics.port: found %s, which is also the port in the key metrics of config; remove that key, or set another port" .) -}}
{{- end -}}
{{- end -}}
{{- $passwords := include "image-cri-shim.passwords" (dict "path" "config" "value" $config) | trim -}}
{{- /* Of a key that a text has twice, fromYaml reads only the last value. */ -}}
{{- if and (kindIs "string" $values.config) (not $passwords) -}}
{{- $text := regexReplaceAll "(?m)(^|\\s)#.*$" $values.config "" -}}
{{- $text = regexReplaceAll "(?m):[ \t]+(null|~)[ \t\r]*([,}]|$)" $text "" -}}
{{- if regexMatch (include "image-cri-shim.login" .) $text }}{{ $passwords = "config" }}{{ end -}}
{{- end -}}
{{- range $name, $content := $values.files -}}
{{- if regexMatch (include "image-cri-shim.login" $) $content }}{{ $passwords = printf "%s\nfiles.%s" $passwords $name }}{{ end -}}
{{- end -}}
{{- $passwords = regexReplaceAll "\\s*\n\\s*" (trim $passwords) ", " -}}
{{- if and $passwords (not $values.allowPasswordsInValues) -}}
{{- fail (printf "%s: found a password in the values, which Helm stores in the cluster; create a Secret of type kubernetes.io/dockerconfigjson and set authSecret, or a Secret with the whole configuration and set existingSecret; allowPasswordsInValues: true permits it" $passwords) -}}
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

{{/* Not empty if the text in the argument has several documents of YAML. fromYaml reads only
the first. */}}
{{- define "image-cri-shim.hasDocuments" -}}
{{- $text := regexReplaceAll "\r\n?|[\\x{85}\\x{2028}\\x{2029}]" . "\n" -}}
{{- $text = regexReplaceAll "^\\x{feff}?(([#%].*|\\s*)\n)*---(\\s|$)" $text "" -}}
{{- $text = regexReplaceAll "(^|\n)\\.\\.\\.((\\s+(#.*)?)\n?)*$" $text "" -}}
{{- if regexMatch "(?m)^(---|\\.\\.\\.)(\\s|$)" $text }}true{{ end -}}
{{- end }}

{{/* A regular expression for logins in a text: keys with a value as in JSON, YAML and TOML, a
.netrc, and addresses with a password. */}}
{{- define "image-cri-shim.login" -}}
(?i)(^|[\s{,])["']?(auths?|password|identitytoken|registrytoken|authorization)["']?\s*[:=][ \t]*["'{\[]*[^\s"'{}\[\],#]|\bmachine\s+\S+\s+login\s|://[^/\s"']*:[^/\s"']*@
{{- end }}

{{/* The paths of passwords, one on each line. Argument: a dict of path and value. */}}
{{- define "image-cri-shim.passwords" -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- if regexMatch "://[^/]*@" $key -}}
{{ $path }}
{{ else if and $value (has (lower $key) (list "auth" "password")) -}}
{{ $path }}.{{ $key }}
{{ else -}}
{{ include "image-cri-shim.passwords" (dict "path" (printf "%s.%s" $path $key) "value" $value) }}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{ include "image-cri-shim.passwords" (dict "path" (printf "%s[%d]" $path $index) "value" $value) }}
{{- end -}}
{{- else if and (kindIs "string" .value) (regexMatch "://[^/]*@|^[^/@]*:[^/@]*@[^/:]*(:[0-9]+)?(/|$)" .value) -}}
{{ $path }}
{{ end -}}
{{- end }}
