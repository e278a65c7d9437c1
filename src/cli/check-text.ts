import { counted, humanBytes } from '../lib/human.ts';
import type { MissingPart, PlatformReadiness, Readiness } from '../pull/image-readiness.ts';
import { NOTHING_FOUND } from './image-files.ts';
import { table } from './table.ts';

export interface CheckedImage extends Readiness {
  /** Files and lines. */
  readonly neededBy: readonly string[];
}

export interface Checked {
  readonly images: readonly CheckedImage[];
  /** What could not be told, so that an image may be missing. */
  readonly problems: readonly string[];
  /** How something was read that can be read in another way. */
  readonly notes: readonly string[];
}

export function checkJson({ images, problems, notes }: Checked): string {
  const isReady = problems.length === 0 && images.every((image) => image.isReady);
  return `${JSON.stringify({ isReady, problems, notes, images }, undefined, 2)}\n`;
}

/** A row for each platform of each image, what could not be read, and the verdict. */
export function checkText({ images, problems, notes }: Checked): string {
  const rows = images.flatMap(rowsOf);
  return [
    rows.length === 0 ? '' : table([['IMAGE', 'PLATFORM', 'SIZE', 'STATE', 'NEEDED BY'], ...rows]),
    ...problems.map((problem) => `not understood: ${problem}\n`),
    ...notes.map((note) => `note: ${note}\n`),
    `${verdictOn(images)}\n`,
  ].join('');
}

function verdictOn(images: readonly CheckedImage[]): string {
  if (images.length === 0) return NOTHING_FOUND;
  const all = counted(images.length, 'image');
  const ready = images.filter(({ isReady }) => isReady).length;
  const what = ready === images.length ? `${all}: all` : `${ready} of ${all}`;
  return `${what} could be pulled now with upstream unplugged`;
}

function rowsOf(image: CheckedImage): string[][] {
  const by = image.neededBy.join(', ');
  if (image.platforms.length === 0) return [[image.image, '-', '-', image.problems.join('; '), by]];
  return image.platforms.map((platform) => [
    image.image,
    platform.platform,
    humanBytes(platform.bytes),
    stateOf(image, platform),
    by,
  ]);
}

function stateOf(
  { problems, foreignLayers }: CheckedImage,
  { isComplete, missing, blobs }: PlatformReadiness,
) {
  const foreign = foreignLayers === 0 ? [] : [`${counted(foreignLayers, 'layer')} held elsewhere`];
  const what = isComplete ? ['cached'] : missingTexts(missing, blobs);
  return [...problems, ...what, ...foreign].join('; ');
}

/** The digests are in the JSON. */
function missingTexts(missing: readonly MissingPart[], blobs: number): string[] {
  const ofKind = (kind: MissingPart['kind']) => missing.filter((part) => part.kind === kind);
  const manifests = ofKind('manifest');
  const lost = ofKind('blob');
  const bytes = lost.reduce((sum, { size = 0 }) => sum + size, 0);
  const parts = [
    ...(manifests.length === 0 ? [] : [counted(manifests.length, 'manifest')]),
    ...(lost.length === 0 ? [] : [`${lost.length} of ${counted(blobs, 'blob')} (${humanBytes(bytes)})`]),
  ].join(', ');
  const isPartial = lost.length < blobs;
  const isOnlyAttestation = missing.every(({ partOf }) => partOf === 'attestation');
  return [
    ...ofKind('platform').map(({ reason }) => reason),
    ...(parts === '' ? [] : [isPartial ? `partial: ${parts} missing` : `missing: ${parts}`]),
    ...(isOnlyAttestation ? ['all of it of the attestation, which only Docker 29 needs'] : []),
  ];
}
