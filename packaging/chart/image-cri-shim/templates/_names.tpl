{{/* The name of the agent's DaemonSet. Names of other objects add at most 14 characters. */}}
{{- define "image-cri-shim.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{- .Values.fullnameOverride | default $name | trunc 40 | regexFind "^.*[a-z0-9]" -}}
{{- end }}

{{/* The image of the agent. */}}
{{- define "image-cri-shim.image" -}}
{{- $repository := required "image.repository is empty; set the image that `make image PUSH=...` has pushed, without the tag" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* The labels of pods, which a new version of the chart must not change. Argument: a list of
the top level and the component. */}}
{{- define "image-cri-shim.podLabels" -}}
{{- $top := index . 0 -}}
app.kubernetes.io/name: {{ $top.Chart.Name }}
app.kubernetes.io/instance: {{ $top.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The labels of all other objects. Arguments as above. */}}
{{- define "image-cri-shim.labels" -}}
{{- $top := index . 0 -}}
{{ include "image-cri-shim.podLabels" . }}
app.kubernetes.io/version: {{ $top.Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $top.Chart.Name $top.Chart.Version | replace "+" "_" | trunc 63 | quote }}
{{- end }}

{{/* The annotations of a hook. Argument: a list of its events and its weight. Helm deletes the
objects at the end of the hook, also if it fails. */}}
{{- define "image-cri-shim.hook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{/* A string, or an integer without an exponent: Helm reads numbers as floating-point numbers. */}}
{{- define "image-cri-shim.number" -}}
{{ ternary . (int64 .) (kindIs "string" .) }}
{{- end }}
