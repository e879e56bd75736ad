{{/* The spec of the DaemonSet that removes the shim. Argument: a list of the top level and the
operator for the label image-cri-shim.io/enabled=false (empty: all nodes). */}}
{{- define "image-cri-shim.removeSpec" -}}
{{- $top := index . 0 -}}
spec:
  # The removal restarts kubelet, which then reports a pod as ready for some seconds.
  minReadySeconds: 15
  updateStrategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 100%
  selector:
    matchLabels:
      {{- include "image-cri-shim.podLabels" (list $top "remove") | nindent 6 }}
  template:
    {{- include "image-cri-shim.pod" (dict "top" $top "component" "remove" "args" (list "remove") "enabled" (index . 1)) | nindent 4 }}
{{- end }}
