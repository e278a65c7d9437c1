import type { Digest } from '../oci/digest.ts';
import { isImageManifestType } from '../oci/media-types.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { ManifestStore } from '../store/manifest-store.ts';
import { imageClosure } from './image-closure.ts';
import type { WarmPlan } from './image-warming.ts';
import type { WarmTarget } from './warm-target.ts';

export interface WarmPlanOptions {
  readonly store: ManifestStore;
  readonly blobs: BlobStore;
  readonly signal: AbortSignal;
}

type Allowances = Map<string, WarmPlan['allowances'][number]>;

/** What bringing images in will cost, by what is stored of them. Asks nobody. */
export async function planWarming(
  targets: readonly WarmTarget[],
  options: WarmPlanOptions,
): Promise<WarmPlan> {
  const plan = new Planning(options);
  for (const target of targets) await plan.add(target);
  return plan.plan();
}

class Planning {
  readonly #options: WarmPlanOptions;
  readonly #manifests = new Set<Digest>();
  readonly #blobs = new Map<Digest, number>();
  readonly #allowances: Allowances = new Map();
  #images = 0;
  #complete = 0;
  #pulls = 0;
  #isAtLeast = false;

  constructor(options: WarmPlanOptions) {
    this.#options = options;
  }

  async add(target: WarmTarget): Promise<void> {
    this.#images++;
    const { root, wanted, failures } = target;
    if (root === undefined) return;
    const { store, signal } = this.#options;
    const closure = await imageClosure(root.digest, {
      platforms: wanted.platforms,
      read: (digest) => store.getManifest(digest),
      signal,
    });
    const missing = closure.missing.filter(({ digest }) => !this.#manifests.has(digest));
    for (const { digest } of missing) this.#manifests.add(digest);
    const isWhole = (await this.#addBlobs(closure.blobs)) && closure.missing.length === 0;
    if (isWhole && failures.length === 0) this.#complete++;
    // What is in a list, and what blobs a manifest names, is known when it is there.
    if (missing.length > 0) this.#isAtLeast = true;
    this.#spend(target, missing.length + (closure.manifests.length === 0 ? inList(target) : 0));
  }

  plan(): WarmPlan {
    return {
      images: this.#images,
      complete: this.#complete,
      pulls: this.#pulls,
      bytes: [...this.#blobs.values()].reduce((sum, size) => sum + size, 0),
      isAtLeast: this.#isAtLeast,
      allowances: [...this.#allowances.values()],
    };
  }

  /** True if all of them are stored. */
  async #addBlobs(
    blobs: readonly { readonly digest: Digest; readonly size: number; readonly isForeign: boolean }[],
  ): Promise<boolean> {
    let areStored = true;
    for (const { digest, size, isForeign } of blobs) {
      if (isForeign || (await this.#options.blobs.stat(digest)) !== undefined) continue;
      areStored = false;
      this.#blobs.set(digest, size);
    }
    return areStored;
  }

  #spend({ upstream, wanted }: WarmTarget, pulls: number): void {
    this.#pulls += pulls;
    const allowance = upstream?.allowance(wanted.image.repository.name);
    if (upstream === undefined || allowance === undefined) return;
    const key = `${upstream.host} ${allowance.identity}`;
    const before = this.#allowances.get(key)?.pulls ?? 0;
    this.#allowances.set(key, { ...allowance, host: upstream.host, pulls: before + pulls });
  }
}

/** Of a list that is not here at least one manifest for each platform is needed. */
function inList({ root, wanted }: WarmTarget): number {
  if (root?.mediaType === undefined || isImageManifestType(root.mediaType)) return 0;
  return Math.max(1, wanted.platforms.length);
}
