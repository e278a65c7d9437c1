import { counted, humanBytes } from '../lib/human.ts';
import type { BundlePlan } from '../pull/bundle-plan.ts';
import { STDOUT } from './stream-output.ts';

export interface ExportResult {
  readonly plan: BundlePlan;
  readonly files: readonly string[];
  readonly bytes: number;
}

/** What was written, and of which platforms. */
export function exportText({ plan, files, bytes }: ExportResult): string {
  const { images, draft } = plan;
  const [first = '', ...rest] = files;
  const one = first === STDOUT ? 'standard output' : first;
  const name = rest.length === 0 ? one : `${first} to ${rest.at(-1)}`;
  const parts = [
    counted(images.length, 'image'),
    counted(draft.manifests.length, 'manifest'),
    counted(draft.blobs.length, 'blob'),
    ...(draft.base.length === 0 ? [] : [`${draft.base.length} left to the other side`]),
    humanBytes(bytes),
  ];
  const rows = images.map(({ image, platforms }) => {
    return `  ${image}${platforms.length === 0 ? '' : `  ${platforms.join(', ')}`}\n`;
  });
  return `${name}: ${parts.join(', ')}\n${rows.join('')}`;
}

export function exportJson({ plan, files, bytes }: ExportResult): string {
  const { images, draft, lacking, foreign } = plan;
  const summary = {
    files,
    bytes,
    images,
    manifests: draft.manifests.length,
    blobs: draft.blobs.length,
    base: draft.base.length,
    lacking,
    foreign,
  };
  return `${JSON.stringify(summary, undefined, 2)}\n`;
}

/** What is not in it. */
export function exportNotes({ images, draft, lacking, foreign }: BundlePlan): string {
  const lines = lacking.flatMap(({ image, lacks }) => lacks.map((lack) => `${image} is incomplete: ${lack}`));
  for (const { image, digest, size } of foreign) {
    lines.push(`${image} has a foreign layer that is left out: ${digest}, ${humanBytes(size)}`);
  }
  const docker = new Set(draft.docker.flatMap(({ names }) => names));
  const missing = draft.images.filter(({ name }) => !docker.has(name)).length;
  // A delta is for nobody but another pierhead.
  if (missing > 0 && draft.base.length === 0 && images.length > 0) {
    lines.push(
      `${counted(missing, 'image')} will not be seen by docker load: not for the platform of --docker-platform`,
    );
  }
  return lines.map((line) => `${line}\n`).join('');
}
