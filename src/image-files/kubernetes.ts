import type { NeededImages } from './needed.ts';
import type { YamlNode } from './yaml-tree.ts';

/** The places of a pod in a workload (Kubernetes API reference, "Workload Resources"). */
const POD_PATHS: readonly (readonly string[])[] = [
  ['spec'],
  ['template', 'spec'],
  ['spec', 'template', 'spec'],
  ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
];

const CONTAINERS = ['initContainers', 'containers', 'ephemeralContainers'] as const;
/** The keys of a pod with images. */
const POD_KEYS: ReadonlySet<string> = new Set([...CONTAINERS, 'volumes']);
/** Deepest nesting of lists, and of maps in a custom resource. */
const MAX_DEPTH = 64;
/** The API groups of Kubernetes itself, with pods at `POD_PATHS`: `v1`, `apps/v1`, `batch/v1`, `*.k8s.io/v1`. */
const OWN_GROUP = /^(?:[^./]*|(?:[^/]*\.)?k8s\.io)$/;

/** The images of the pods of a Kubernetes object, or of the objects in a list. */
export function kubernetesImages(object: YamlNode, needed: NeededImages): void {
  new Objects(needed).add(object, MAX_DEPTH);
}

class Objects {
  readonly #needed: NeededImages;
  readonly #seen = new Set<unknown>();

  constructor(needed: NeededImages) {
    this.#needed = needed;
  }

  add(object: YamlNode, depth: number): void {
    if (depth === 0 || this.#isSeen(object)) return;
    for (const item of object.get('items')?.items ?? []) this.add(item, depth - 1);
    const [group = ''] = /^[^/]*(?=\/)/.exec(object.get('apiVersion')?.text ?? '') ?? [];
    if (!OWN_GROUP.test(group)) {
      for (const [, value] of object.entries) this.#search(value, depth);
      return;
    }
    for (const path of POD_PATHS) {
      const pod = object.at(...path);
      if (pod !== undefined) podImages(pod, this.#needed);
    }
    for (const path of [[], ...POD_PATHS.map((each) => each.slice(0, -1))]) {
      this.#needed.noteLikenesses('annotations', object.at(...path, 'metadata', 'annotations')?.values);
    }
    if (object.get('kind')?.text === 'ConfigMap')
      this.#needed.noteLikenesses('data', object.get('data')?.values);
  }

  /** A custom resource can have images at any place, so each key `image` and each pod counts. */
  #search(node: YamlNode, depth: number): void {
    if (depth === 0 || this.#isSeen(node)) return;
    const isPod = (node.get('containers')?.items.length ?? 0) > 0;
    if (isPod) podImages(node, this.#needed);
    for (const [key, value] of node.entries) {
      if (isPod && POD_KEYS.has(key)) continue;
      if (key === 'image') this.#addImage(value);
      this.#search(value, depth - 1);
    }
    for (const item of node.items) this.#search(item, depth - 1);
  }

  #addImage(image: YamlNode): void {
    if (image.text !== undefined) this.#needed.add(image.line, image.text);
    else if (image.get('repository') !== undefined) {
      this.#needed.problem(image.line, 'an image made of several fields is not read; name it in a list');
    }
  }

  #isSeen({ identity }: YamlNode): boolean {
    if (this.#seen.has(identity)) return true;
    // Texts have no children.
    if (typeof identity === 'object' && identity !== null) this.#seen.add(identity);
    return false;
  }
}

function podImages(pod: YamlNode, needed: NeededImages): void {
  const platform = platformOf(pod);
  const images = [
    ...CONTAINERS.flatMap((kind) => pod.get(kind)?.items.map((container) => container.get('image')) ?? []),
    ...(pod.get('volumes')?.items.map((volume) => volume.at('image', 'reference')) ?? []),
  ];
  for (const image of images) {
    if (image?.text !== undefined) needed.add(image.line, image.text, { platform });
  }
  // Operators pull images that their arguments and variables name.
  for (const container of CONTAINERS.flatMap((kind) => pod.get(kind)?.items ?? [])) {
    for (const key of ['command', 'args']) needed.noteLikenesses(key, container.get(key)?.values);
    const env = container.get('env')?.items.flatMap((variable) => variable.get('value') ?? []);
    needed.noteLikenesses('env', env);
  }
}

/** The platform of a pod that selects its node by these well-known labels. */
function platformOf(pod: YamlNode): string | undefined {
  const selector = pod.get('nodeSelector');
  const architecture = selector?.get('kubernetes.io/arch')?.text;
  const os = pod.at('os', 'name')?.text ?? selector?.get('kubernetes.io/os')?.text ?? 'linux';
  return architecture === undefined ? undefined : `${os}/${architecture}`;
}
