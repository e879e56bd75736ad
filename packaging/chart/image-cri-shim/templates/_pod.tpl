{{/* The pod of the agent's DaemonSet and of the two that remove the shim. Arguments of the
dict: top (the top level), component, args, enabled (the operator for the label
image-cri-shim.io/enabled=false; empty: all nodes), waves, and sources (of the volume with the
configuration). */}}
{{- define "image-cri-shim.pod" -}}
{{- $top := .top -}}
{{- $metrics := ternary (include "image-cri-shim.metricsPort" $top) "" (eq .component "agent") -}}
{{- $token := and (eq .component "agent") (or $top.Values.live $top.Values.compatibility.sealosConfigMap) -}}
metadata:
  labels:
    {{- include "image-cri-shim.podLabels" (list $top .component) | nindent 4 }}
spec:
  {{- with $top.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- if eq .component "agent" }}
  {{- /* Kubernetes copies the name to the field serviceAccount. An upgrade that removes it would
  bring it back from there, and no pod starts once the account is deleted. */}}
  serviceAccountName: {{ ternary (include "image-cri-shim.fullname" $top) "default" $token | quote }}
  {{- end }}
  automountServiceAccountToken: {{ $token }}
  enableServiceLinks: false
  priorityClassName: system-node-critical
  hostNetwork: true
  hostPID: true
  dnsPolicy: Default
  terminationGracePeriodSeconds: 30
  tolerations:
    - operator: Exists
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions:
              - {key: kubernetes.io/os, operator: In, values: [linux]}
              - {key: kubernetes.io/arch, operator: In, values: [amd64, arm64]}
              {{- with .enabled }}
              - {key: image-cri-shim.io/enabled, operator: {{ . }}, values: ["false"]}
              {{- end }}
              {{- with .waves }}
              - key: image-cri-shim.io/wave
                operator: In
                values:
                  {{- range . }}
                  - {{ include "image-cri-shim.number" . | quote }}
                  {{- end }}
              {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "image-cri-shim.image" $top | quote }}
      imagePullPolicy: {{ $top.Values.image.pullPolicy }}
      command: [/image-cri-shim-agent]
      args:
        {{- range .args }}
        - {{ . | quote }}
        {{- end }}
      {{- with $metrics }}
      env:
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
      ports:
        - name: metrics
          containerPort: {{ . }}
      {{- end }}
      securityContext:
        privileged: true
      terminationMessagePolicy: FallbackToLogsOnError
      readinessProbe:
        exec:
          command: [/image-cri-shim-agent, status, --ready]
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ if eq .component "remove" }}1{{ else }}2{{ end }}
      resources:
        {{- toYaml $top.Values.resources | nindent 8 }}
      volumeMounts:
        - name: host
          mountPath: /host
          mountPropagation: HostToContainer
        {{- if .sources }}
        - name: config
          mountPath: /config
          readOnly: true
        {{- end }}
  volumes:
    - name: host
      hostPath:
        path: /
    {{- with .sources }}
    - name: config
      projected:
        defaultMode: 0400
        sources:
          {{- trim . | nindent 10 }}
    {{- end }}
{{- end }}

{{/* The spec of the pod of a hook's Job. Argument: a list of the top level, the name of its
service account, and its arguments. The Job must run on a cluster without a network for pods,
and on nodes with taints, but not on one that is down. */}}
{{- define "image-cri-shim.jobPod" -}}
{{- $top := index . 0 -}}
{{- with $top.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
serviceAccountName: {{ index . 1 }}
enableServiceLinks: false
restartPolicy: Never
priorityClassName: system-cluster-critical
hostNetwork: true
dnsPolicy: Default
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
tolerations:
  - operator: Exists
    effect: NoSchedule
  - key: node.kubernetes.io/not-ready
    operator: Exists
    effect: NoExecute
  # A toleration of a taint that does not exist. With it, the apiserver does not add one that
  # would permit to schedule the pod on a node that is down.
  - key: node.kubernetes.io/unreachable
    operator: Equal
    value: never
    effect: NoExecute
  {{- with $top.Values.hooks.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - {key: kubernetes.io/os, operator: In, values: [linux]}
            - {key: kubernetes.io/arch, operator: In, values: [amd64, arm64]}
containers:
  - name: hook
    image: {{ include "image-cri-shim.image" $top | quote }}
    imagePullPolicy: {{ $top.Values.image.pullPolicy }}
    command: [/image-cri-shim-agent]
    args:
      {{- range index . 2 }}
      - {{ . | quote }}
      {{- end }}
    terminationMessagePolicy: FallbackToLogsOnError
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    resources:
      {{- toYaml $top.Values.resources | nindent 6 }}
{{- end }}
