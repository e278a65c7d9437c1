import { parseFullName } from '../oci/image-name.ts';
import type { ImageChange, NeededImage, NeededImages } from './needed.ts';
import type { YamlNode } from './yaml-tree.ts';

/** The file that Kustomize reads in a folder (kubectl reference, "kustomization"). */
export const KUSTOMIZATION_NAMES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'] as const;

/** Keys that make or change objects in ways that only Kustomize itself can follow. */
const NOT_READ = [
  'generators',
  'helmChartInflationGenerator',
  'helmCharts',
  'replacements',
  'transformers',
  'vars',
] as const;
const PATCHES = ['patches', 'patchesJson6902', 'patchesStrategicMerge'] as const;

export function isKustomization(path: string, document: YamlNode): boolean {
  const kind = document.get('kind')?.text;
  if (kind !== undefined)
    return kind === 'Kustomization' || (kind === 'Component' && isOfKustomize(document));
  return KUSTOMIZATION_NAMES.some((name) => path === name || path.endsWith(`/${name}`));
}

function isOfKustomize(document: YamlNode): boolean {
  return document.get('apiVersion')?.text?.startsWith('kustomize.config.k8s.io/') === true;
}

/**
 * Adds the files and folders of a kustomization. Its `images` change the names of their images (Kustomize reference,
 * "images").
 */
export function kustomizationImages(document: YamlNode, needed: NeededImages): void {
  const changes = document.get('images')?.items.flatMap(changeOf) ?? [];
  for (const key of ['resources', 'bases', 'components'] as const) {
    for (const { text, line } of document.get(key)?.items ?? []) {
      if (text !== undefined) needed.addFile(line, text, { changes });
    }
  }
  for (const key of NOT_READ) {
    const node = document.get(key);
    const isThere = node !== undefined && (node.items.length > 0 || node.entries.length > 0);
    if (isThere) needed.problem(node.line, `${key} is not read; name its images in a list`);
  }
  for (const key of PATCHES) {
    const node = document.get(key);
    if (node !== undefined && node.items.length > 0) {
      needed.note(node.line, `${key} is not applied: images that it sets are not checked`);
    }
  }
}

function changeOf(entry: YamlNode): ImageChange[] {
  const name = entry.get('name')?.text;
  if (name === undefined) return [];
  const [newName, newTag, digest] = ['newName', 'newTag', 'digest'].map((key) => entry.get(key)?.text);
  return [{ name, newName, newTag, digest }];
}

/** Applies `changes` to an image, in their order. Undefined: the new name is not the name of an image. */
export function changedImage(needed: NeededImage, changes: readonly ImageChange[]): NeededImage | undefined {
  let { spelling } = needed;
  for (const change of changes) {
    const [, name = '', rest = ''] = /^(.*?)((?::[^:/@]*)?(?:@.*)?)$/.exec(spelling) ?? [];
    if (name !== change.name) continue;
    const { newName = name, newTag, digest } = change;
    const given = `${newTag === undefined ? '' : `:${newTag}`}${digest === undefined ? '' : `@${digest}`}`;
    spelling = `${newName}${given === '' ? rest : given}`;
  }
  if (spelling === needed.spelling) return needed;
  const full = parseFullName(spelling);
  if (full === undefined) return undefined;
  const { repository, tag, digest } = full;
  const named = digest === undefined ? { tag } : { digest };
  return { ...needed, spelling, image: { repository, ...named, platforms: needed.image.platforms } };
}
