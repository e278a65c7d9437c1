import type { Digest } from '../oci/digest.ts';
import type { ListedImage } from '../oci/listed-image.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { repositoryKey, type Repository } from '../oci/reference.ts';

/** Something that was pulled. */
export interface PulledImage {
  readonly repository: Repository;
  readonly tag?: string;
  /** What the tag named, or what was asked for by digest. */
  readonly root: Digest;
  /** The manifest of that list which was taken. */
  readonly child?: Digest;
  readonly platform?: Platform;
  /** When it was pulled last; ms since the epoch. */
  readonly lastAt: number;
}

interface Group {
  readonly repository: Repository;
  readonly root: Digest;
  readonly platforms: Map<string, Platform>;
  readonly children: Set<Digest>;
}

/**
 * What was pulled, as a lock has it: what each tag named last, with the platforms that were taken of it. What a tag named
 * before stands there by its digest alone, as what was pulled by digest does; a manifest that was taken out of a list
 * belongs to that.
 */
export function lockedImages(pulls: readonly PulledImage[]): ListedImage[] {
  const groups = groupsOf(pulls);
  const tagsOf = tagsByRoot(pulls);
  const parts = new Set(
    [...groups.values()].flatMap(({ repository, children }) =>
      [...children].map((child) => groupKey(repository, child)),
    ),
  );
  return [...groups].flatMap(([key, { repository, root, platforms }]) => {
    const image = { repository, digest: root, platforms: sorted(platforms) };
    const tags = tagsOf.get(key) ?? [];
    if (tags.length === 0) return parts.has(key) ? [] : [image];
    return tags.map((tag) => ({ ...image, tag }));
  });
}

function groupsOf(pulls: readonly PulledImage[]): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const { repository, root, child, platform } of pulls) {
    const key = groupKey(repository, root);
    const group = groups.get(key) ?? { repository, root, platforms: new Map(), children: new Set() };
    groups.set(key, group);
    if (child !== undefined) group.children.add(child);
    if (platform !== undefined) group.platforms.set(formatPlatform(platform), platform);
  }
  return groups;
}

/** The tags under what each of them named last. */
function tagsByRoot(pulls: readonly PulledImage[]): Map<string, string[]> {
  const latest = new Map<string, { readonly root: string; readonly tag: string; readonly lastAt: number }>();
  for (const { repository, root, tag, lastAt } of pulls) {
    if (tag === undefined) continue;
    const key = `${repositoryKey(repository)}:${tag}`;
    if ((latest.get(key)?.lastAt ?? -Infinity) > lastAt) continue;
    latest.set(key, { root: groupKey(repository, root), tag, lastAt });
  }
  const tags = new Map<string, string[]>();
  for (const { root, tag } of latest.values()) tags.set(root, [...(tags.get(root) ?? []), tag]);
  return tags;
}

function groupKey(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`;
}

function sorted(platforms: ReadonlyMap<string, Platform>): Platform[] {
  return [...platforms].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, platform]) => platform);
}
