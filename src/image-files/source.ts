import { composeImages } from './compose.ts';
import { dockerfileImages, isDockerfile } from './dockerfile.ts';
import { kubernetesImages } from './kubernetes.ts';
import { isKustomization, kustomizationImages } from './kustomization.ts';
import { parseImageList } from './list.ts';
import {
  ListError,
  listedAt,
  NeededImages,
  type ImageSource,
  type ServiceChoice,
  type SourceContext,
} from './needed.ts';
import { parseYaml } from './yaml-tree.ts';

export interface SourceFile extends SourceContext {
  /** For messages, and to guess the kind of the file. */
  readonly path: string;
  readonly text: string;
  /** Of a Compose file, only this service. */
  readonly service?: ServiceChoice | undefined;
}

/**
 * The images of a Compose file, Kubernetes manifests, a kustomization, a Dockerfile, a lock or a list of names. Name and
 * content decide on the kind. Throws ListError for other files.
 */
export function readImageSource(file: SourceFile): ImageSource {
  const { path, text } = file;
  const needed = new NeededImages(path);
  if (isDockerfile(path, text)) dockerfileImages(text, file, needed);
  else if (!isYaml(path, text)) return listed(path, text);
  else {
    for (const document of parseYaml(path, text)) {
      if (isKustomization(path, document)) kustomizationImages(document, needed);
      else if (document.get('services') !== undefined) composeImages(document, file, needed);
      else if (document.get('kind') !== undefined) kubernetesImages(document, needed);
      else if (document.get('version') !== undefined) return listed(path, text);
      else {
        const what = 'not a Compose file (services), a Kubernetes manifest (kind) or a lock (version)';
        throw new ListError(`${path}:${document.line}: ${what}`);
      }
    }
  }
  return needed;
}

function listed(path: string, text: string): ImageSource {
  return {
    images: parseImageList(path, text).map((image) => listedAt(image, path)),
    problems: [],
    notes: [],
    further: [],
  };
}

const YAML_NAME = /\.(?:ya?ml|json)$/i;

/** In a list of names, no line begins with a key or a brace. */
const YAML_START = /^(?:---|%YAML|[{[]|["']?[\w.-]+["']?\s*:(?:\s|$))/;

function isYaml(path: string, text: string): boolean {
  const first = text.split('\n').find((line) => !/^\s*(?:#|$)/.test(line)) ?? '';
  return YAML_NAME.test(path) || YAML_START.test(first);
}
