import { describe, expect, it } from 'vitest';
import { needs } from '../support/source-context.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

describe('manifests of Kubernetes', () => {
  it('name what looks like an image in words, variables and annotations', () => {
    const text = `kind: Deployment
metadata: { annotations: { sidecar: "istio/proxyv2:1.20.0" } }
spec:
  template:
    metadata: { annotations: { other: "ghcr.io/org/init@${DIGEST}", note: "see org/docs" } }
    spec:
      containers:
      - image: operator:1
        args: ["--runner-image=quay.io/org/runner:v3", "--port=:8080", "redis:6379"]
        env: [{ name: IMAGE, value: "postgres:16-alpine" }, { name: X, value: plain }]
---
kind: ConfigMap
data: { image: "docker.io/library/busybox:1.36", text: "a: b" }
`;
    expect(needs('k.yaml', text)).toEqual([
      'operator:1 k.yaml:8',
      'note: k.yaml:9: args: "quay.io/org/runner:v3" looks like an image, not checked',
      'note: k.yaml:10: env: "postgres:16-alpine" looks like an image, not checked',
      'note: k.yaml:2: annotations: "istio/proxyv2:1.20.0" looks like an image, not checked',
      expect.stringMatching(
        /^note: k.yaml:5: annotations: "ghcr.io\/org\/init@sha256.*" looks like an image, not checked$/,
      ),
      'note: k.yaml:13: data: "docker.io/library/busybox:1.36" looks like an image, not checked',
    ]);
  });

  it('need the images of all containers of all pods, whatever makes them', () => {
    const pod = (image: string) => `containers: [{ name: x, image: "${image}" }]`;
    const text = `apiVersion: v1
kind: Pod
spec:
  initContainers:
    - { name: a, image: "busybox:1" }
  containers:
    - name: b
      image: nginx:1.27
  ephemeralContainers: [{ name: c, image: "alpine:3" }]
  volumes:
    - { name: v, image: { reference: "ghcr.io/org/data:1" } }
    - { name: w, emptyDir: {} }
---
# nothing
---
kind: Deployment
spec: { template: { spec: { nodeSelector: { kubernetes.io/arch: arm64 }, ${pod('one')} } } }
---
kind: StatefulSet
spec: { template: { spec: { ${pod('two')} } } }
---
kind: DaemonSet
spec: { template: { spec: { nodeSelector: { kubernetes.io/arch: amd64, kubernetes.io/os: windows }, ${pod('three')} } } }
---
kind: Job
spec: { template: { spec: { ${pod('four')} } } }
---
kind: CronJob
spec: { jobTemplate: { spec: { template: { spec: { ${pod('five')} } } } } }
---
kind: List
items:
  - { kind: ReplicaSet, spec: { template: { spec: { ${pod('six')} } } } }
  - { kind: PodTemplate, template: { spec: { ${pod(`seven:1@${DIGEST}`)} } } }
---
kind: ConfigMap
data: { image: eight }
`;
    expect(needs('all.yaml', text).map((line) => line.replace(/ all.yaml:.*/, ''))).toEqual([
      'busybox:1',
      'nginx:1.27',
      'alpine:3',
      'ghcr.io/org/data:1',
      'one:latest linux/arm64',
      'two:latest',
      'three:latest windows/amd64',
      'four:latest',
      'five:latest',
      'six:latest',
      `seven@${DIGEST}`,
    ]);
    expect(needs('all.yaml', text)[1]).toBe('nginx:1.27 all.yaml:8');
  });

  it('may be JSON, and a list that holds itself ends', () => {
    const json = JSON.stringify({ kind: 'Pod', spec: { containers: [{ image: 'nginx' }] } }, undefined, 2);
    expect(needs('pod.json', json)).toEqual(['nginx:latest pod.json:6']);
    expect(
      needs('x.yaml', '&a\nkind: List\nitems: [*a]\nspec: { containers: [{ image: nginx }] }\n'),
    ).toHaveLength(1);
  });

  it('need what custom resources call an image, wherever they do', () => {
    const text = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
spec:
  templates:
    - container: { image: "nginx:1" }
    - script: { image: "python:3" }
---
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
spec:
  replicatedJobs:
    - template:
        spec:
          template:
            spec:
              nodeSelector: { kubernetes.io/arch: arm64 }
              initContainers: [{ image: "busybox:1" }]
              containers: [{ image: "worker:1" }]
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
spec:
  values:
    image: { repository: org/app, tag: v1 }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec: { versions: [{ schema: { properties: { image: string } } }] }
`;
    expect(needs('custom.yaml', text)).toEqual([
      'nginx:1 custom.yaml:5',
      'python:3 custom.yaml:6',
      'busybox:1 linux/arm64 custom.yaml:17',
      'worker:1 linux/arm64 custom.yaml:18',
      'custom.yaml:24: an image made of several fields is not read; name it in a list',
    ]);
  });

  it('that are templates are refused where they are', () => {
    expect(() => needs('chart.yaml', 'kind: Pod\nspec:\n  {{- toYaml .x }}\n')).toThrow(
      /^chart.yaml:3: this is not valid YAML/,
    );
    expect(needs('c.yaml', 'kind: Pod\nspec: { containers: [{ image: "{{ .image }}" }] }')).toEqual([
      'c.yaml:2: "{{ .image }}" is not the name of an image',
    ]);
  });
});
