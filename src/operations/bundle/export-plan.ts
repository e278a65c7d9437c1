import { type DockerImage, type BundledImage, wholeName } from '../../bundle/bundle-index.ts';
import type { BundledBlob } from '../../bundle/contents.ts';
import type { BundleDraft } from '../../bundle/writer.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  type ImageName,
  formatImageName,
  formatListedImage,
  type ListedImage,
} from '../../oci/image-name.ts';
import {
  blobsOf,
  isRunnableImage,
  type ManifestContent,
  parseManifest,
  type Manifest,
} from '../../oci/manifest.ts';
import { OCI_INDEX } from '../../oci/media-types.ts';
import { type Platform, formatPlatform } from '../../oci/platform.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { BlobFiles } from '../../store/blobs.ts';
import type { ManifestStore, ReferrersStore } from '../../store/manifests.ts';
import { walkImage, type WalkedManifest } from '../images/walk.ts';
import { isOfUse, selectImage, type Audience, type Selection } from './selection.ts';

/**
 * The images that a client of `platform` gets for these names, and the names without a manifest for it. `held` are the
 * blobs of the bundle: an image that lacks one is left out.
 */
async function dockerImages(
  named: readonly { readonly name: ImageName; readonly root: Digest }[],
  {
    platform,
    held,
    read,
  }: {
    readonly platform: Platform;
    readonly held: ReadonlySet<Digest>;
    readonly read: (digest: Digest) => Promise<Manifest | undefined>;
  },
): Promise<{ readonly images: DockerImage[]; readonly unmatched: ImageName[] }> {
  const images = new Map<Digest, Omit<DockerImage, 'names'> & { readonly names: ImageName[] }>();
  const unmatched: ImageName[] = [];
  for (const { name, root } of named) {
    const { manifests } = await walkImage(root, { platforms: [platform], read });
    const chosen = manifests.find(({ role }) => role === 'image');
    if (chosen === undefined) unmatched.push(name);
    const image = chosen === undefined ? undefined : imageOf(chosen.content, held);
    if (image === undefined) continue;
    const known = images.get(image.config);
    if (known === undefined) images.set(image.config, { ...image, names: [name] });
    else known.names.push(name);
  }
  return { images: [...images.values()], unmatched };
}

function imageOf(
  content: ManifestContent,
  held: ReadonlySet<Digest>,
): Omit<DockerImage, 'names'> | undefined {
  if (content.kind === 'index' || !isRunnableImage(content) || content.foreign.length > 0) return undefined;
  if (!blobsOf(content).every(({ digest }) => held.has(digest))) return undefined;
  return { config: content.config.digest, layers: content.layers.map(({ digest }) => digest) };
}

export interface PlanOptions {
  readonly manifests: Pick<ManifestStore, 'getTag' | 'getManifest' | 'getLink'>;
  readonly referrers: Pick<ReferrersStore, 'getReferrers'>;
  readonly files: Pick<BlobFiles, 'size'>;
  /** Undefined: the platforms of each listed image, else `stored`. */
  readonly audience: Audience | undefined;
  readonly withForeign: boolean;
  /** The blobs that the other site has. */
  readonly has: ReadonlySet<Digest>;
  /** The platform of `manifest.json`: `docker load` takes one platform for each tag. */
  readonly dockerPlatform: Platform;
  readonly signal: AbortSignal;
}

/** A requested image that the bundle holds in part, or not at all. */
export interface LackingImage {
  readonly image: string;
  readonly lacks: readonly string[];
}

export interface PlannedImage {
  readonly image: string;
  readonly digest: Digest;
  /** As the index states them; empty: it states none. */
  readonly platforms: readonly string[];
}

export interface BundlePlan {
  readonly draft: BundleDraft;
  readonly images: readonly PlannedImage[];
  readonly lacking: readonly LackingImage[];
  /** Images without a manifest for `dockerPlatform`. */
  readonly unmatched: readonly string[];
  /** Foreign layers that are left out. */
  readonly foreign: readonly { readonly image: string; readonly digest: Digest; readonly size: number }[];
}

/** Tags with signatures and other referrers, for registries without the referrers API (cosign; OCI distribution-spec). */
const TAG_SUFFIXES = ['', '.sig', '.att', '.sbom'] as const;

/** Plans the contents of a bundle. The order of `images` does not change the plan. */
export async function planBundle(images: readonly ListedImage[], options: PlanOptions): Promise<BundlePlan> {
  const plan = new Planning(options);
  const sorted = images
    .map((image) => ({ ...image, platforms: inOrder(image.platforms) }))
    .sort((a, b) => (formatListedImage(a) < formatListedImage(b) ? -1 : 1));
  for (const image of sorted) await plan.add(image);
  return plan.done();
}

function inOrder(platforms: readonly Platform[]): Platform[] {
  return [...platforms].sort((a, b) => (formatPlatform(a) < formatPlatform(b) ? -1 : 1));
}

interface Chosen {
  readonly name: ImageName;
  readonly root: Digest;
  readonly manifests: Map<Digest, WalkedManifest>;
  readonly blobs: Map<Digest, BundledBlob>;
}

class Planning {
  readonly #options: PlanOptions;
  /** By `wholeName`. */
  readonly #chosen = new Map<string, Chosen>();
  readonly #lacking: LackingImage[] = [];
  readonly #foreign = new Map<Digest, BundlePlan['foreign'][number]>();
  readonly #sizes = new Map<Digest, number | undefined>();

  constructor(options: PlanOptions) {
    this.#options = options;
  }

  async add(image: ListedImage): Promise<void> {
    const { repository, tag, platforms } = image;
    const tagged = tag === undefined ? undefined : await this.#tagged(repository, tag);
    const root = image.digest ?? tagged;
    const shown = shownName(image);
    if (root === undefined) {
      this.#lacking.push({ image: shown, lacks: ['the tag is not cached'] });
      return;
    }
    if (!(await this.#isOf(repository, root))) {
      // Clients cannot pull it here. At the other site, all clients of this repository could.
      this.#lacking.push({ image: shown, lacks: ['not known to belong to this repository'] });
      return;
    }
    const audience = this.#audienceOf(platforms);
    const selection = await this.#select(repository, root, audience);
    if (selection.lacks.length > 0) this.#lacking.push({ image: shown, lacks: selection.lacks });
    if (!isOfUse(selection.manifests)) return;
    this.#choose(await this.#nameFor(image, root, tagged), root, selection);
    await this.#addSigned(repository, selection);
  }

  async done(): Promise<BundlePlan> {
    const chosen = [...this.#chosen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
    const manifests = new Map(chosen.flatMap((each) => [...each.manifests]));
    const blobs = new Map(chosen.flatMap((each) => [...each.blobs]));
    const { has } = this.#options;
    const fresh = [...blobs.values()].filter(({ digest }) => !has.has(digest));
    const docker = await dockerImages(chosen, {
      platform: this.#options.dockerPlatform,
      held: new Set(fresh.map(({ digest }) => digest)),
      read: async (digest) => this.#options.manifests.getManifest(digest),
    });
    const draft: BundleDraft = {
      images: chosen.map(bundled),
      manifests: await this.#read([...manifests.keys()]),
      referrers: this.#referrersOf(chosen),
      blobs: fresh,
      base: [...blobs.values()].filter(({ digest }) => has.has(digest)),
      docker: docker.images,
    };
    return {
      draft,
      images: chosen.map(({ name, root, manifests: own }) => ({
        image: formatImageName(name),
        digest: root,
        platforms: platformsOf([...own.values()]),
      })),
      lacking: this.#lacking,
      unmatched: docker.unmatched.map(formatImageName),
      foreign: [...this.#foreign.values()],
    };
  }

  #audienceOf(platforms: readonly Platform[]): Audience {
    const { audience } = this.#options;
    if (audience === undefined) return platforms.length === 0 ? 'stored' : platforms;
    return typeof audience === 'string' ? audience : inOrder(audience);
  }

  async #tagged(repository: Repository, tag: string): Promise<Digest | undefined> {
    return (await this.#options.manifests.getTag(repository, tag))?.descriptor.digest;
  }

  #select(repository: Repository, root: Digest, audience: Audience): Promise<Selection> {
    const { manifests, withForeign, signal } = this.#options;
    return selectImage(root, audience, {
      // An index or a foreign layer can name a digest that is private in another repository.
      read: async (digest) =>
        (await this.#isOf(repository, digest)) ? manifests.getManifest(digest) : undefined,
      referrers: async (subject) => this.#listed(repository, subject),
      hasBlob: async ({ digest }) =>
        (await this.#isOf(repository, digest)) && (await this.#size(digest)) !== undefined,
      withForeign,
      signal,
    });
  }

  async #isOf(repository: Repository, digest: Digest): Promise<boolean> {
    return (await this.#options.manifests.getLink(repository, digest)) !== undefined;
  }

  async #size(digest: Digest): Promise<number | undefined> {
    if (!this.#sizes.has(digest)) this.#sizes.set(digest, await this.#options.files.size(digest));
    return this.#sizes.get(digest);
  }

  #listed(repository: Repository, subject: Digest) {
    const record = this.#options.referrers.getReferrers(repository, subject);
    if (record === undefined) return [];
    const { content } = parseManifest(record.bytes, OCI_INDEX);
    return content.kind === 'index' ? content.entries : [];
  }

  /**
   * A lock can hold a tag twice: before and after the tag moved. Then the tag goes to the digest that it names in the cache.
   * The other image gets a name with its digest.
   */
  async #nameFor({ repository, tag }: ListedImage, root: Digest, tagged?: Digest): Promise<ImageName> {
    const byDigest: ImageName = { repository, reference: { kind: 'digest', digest: root } };
    if (tag === undefined) return byDigest;
    const name: ImageName = { repository, reference: { kind: 'tag', tag } };
    const other = this.#chosen.get(wholeName(name));
    if (other === undefined || other.root === root) return name;
    if (tagged !== root) return byDigest;
    this.#chosen.delete(wholeName(name));
    const moved: ImageName = { repository, reference: { kind: 'digest', digest: other.root } };
    this.#chosen.set(wholeName(moved), { ...other, name: moved });
    return name;
  }

  #choose(name: ImageName, root: Digest, { manifests, blobs, foreign }: Selection): void {
    const key = wholeName(name);
    const known = this.#chosen.get(key) ?? { name, root, manifests: new Map(), blobs: new Map() };
    for (const manifest of manifests) known.manifests.set(manifest.digest, manifest);
    for (const { digest } of blobs) {
      const size = this.#sizes.get(digest);
      if (size !== undefined) known.blobs.set(digest, { digest, size });
    }
    for (const { digest, size } of foreign) {
      this.#foreign.set(digest, { image: formatImageName(name), digest, size });
    }
    this.#chosen.set(key, known);
  }

  async #addSigned(repository: Repository, { manifests }: Selection): Promise<void> {
    for (const { digest, role } of manifests) {
      if (role !== 'image' && role !== 'index') continue;
      for (const suffix of TAG_SUFFIXES) {
        const tag = `${digest.replace(':', '-')}${suffix}`;
        const root = await this.#tagged(repository, tag);
        if (root === undefined) continue;
        const selection = await this.#select(repository, root, 'stored');
        if (selection.lacks.length > 0) continue;
        this.#choose({ repository, reference: { kind: 'tag', tag } }, root, selection);
      }
    }
  }

  async #read(digests: readonly Digest[]): Promise<Manifest[]> {
    const read: Manifest[] = [];
    for (const digest of digests) {
      const manifest = await this.#options.manifests.getManifest(digest);
      if (manifest !== undefined) read.push(manifest);
    }
    return read;
  }

  #referrersOf(chosen: readonly Chosen[]): BundleDraft['referrers'] {
    const lists = new Map<string, BundleDraft['referrers'][number]>();
    for (const { name, manifests } of chosen) {
      const { repository } = name;
      for (const subject of manifests.keys()) {
        const record = this.#options.referrers.getReferrers(repository, subject);
        if (record === undefined) continue;
        lists.set(`${repositoryKey(repository)}@${subject}`, { repository, subject, bytes: record.bytes });
      }
    }
    return [...lists.values()];
  }
}

function bundled({ name, root, manifests }: Chosen): BundledImage {
  const { mediaType = '', size = 0 } = manifests.get(root) ?? {};
  return { name, root: { digest: root, mediaType, size } };
}

function platformsOf(manifests: readonly WalkedManifest[]): string[] {
  const platforms = manifests.flatMap(({ role, platform }) =>
    role === 'image' && platform !== undefined ? [formatPlatform(platform)] : [],
  );
  return [...new Set(platforms)].sort();
}

function shownName({ repository, tag, digest }: ListedImage): string {
  if (digest !== undefined) return formatImageName({ repository, reference: { kind: 'digest', digest } });
  return formatImageName({ repository, reference: { kind: 'tag', tag: tag ?? 'latest' } });
}
