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
export function exportNotes({ lacking, unmatched, foreign }: BundlePlan): string {
  const lines = lacking.flatMap(({ image, lacks }) => lacks.map((lack) => `${image} is incomplete: ${lack}`));
  for (const { image, digest, size } of foreign) {
    lines.push(`${image} has a foreign layer that is left out: ${digest}, ${humanBytes(size)}`);
  }
  for (const image of unmatched) lines.push(`${image} has nothing for docker load: see --docker-platform`);
  return lines.map((line) => `${line}\n`).join('');
}
