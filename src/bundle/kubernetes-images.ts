import type { NeededImages } from './needed-images.ts';
import type { YamlNode } from './yaml-tree.ts';

/** Where the pod is in what makes pods (Kubernetes API reference, "Workload Resources"). */
const POD_PATHS: readonly (readonly string[])[] = [
  ['spec'],
  ['template', 'spec'],
  ['spec', 'template', 'spec'],
  ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
];
const CONTAINERS = ['initContainers', 'containers', 'ephemeralContainers'] as const;
/** Lists of lists: nobody goes deeper. */
const MAX_DEPTH = 4;

/** The images of a Kubernetes object: of its pods, whatever kind makes them, or of the objects of a list. */
export function kubernetesImages(object: YamlNode, needed: NeededImages, depth = 0): void {
  if (depth < MAX_DEPTH) {
    for (const item of object.get('items')?.items ?? []) kubernetesImages(item, needed, depth + 1);
  }
  for (const path of POD_PATHS) {
    const pod = object.at(...path);
    if (pod !== undefined) podImages(pod, needed);
  }
}

function podImages(pod: YamlNode, needed: NeededImages): void {
  const platform = platformOf(pod);
  const images = [
    ...CONTAINERS.flatMap((kind) => pod.get(kind)?.items.map((container) => container.get('image')) ?? []),
    ...(pod.get('volumes')?.items.map((volume) => volume.at('image', 'reference')) ?? []),
  ];
  for (const image of images) {
    if (image?.text !== undefined) needed.add(image.line, image.text, platform);
  }
}

/** What a pod that chooses its node by these well-known labels runs on. */
function platformOf(pod: YamlNode): string | undefined {
  const selector = pod.get('nodeSelector');
  const architecture = selector?.get('kubernetes.io/arch')?.text;
  const os = pod.at('os', 'name')?.text ?? selector?.get('kubernetes.io/os')?.text ?? 'linux';
  return architecture === undefined ? undefined : `${os}/${architecture}`;
}
