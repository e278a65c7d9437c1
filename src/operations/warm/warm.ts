import { unlessAborted } from '../../lib/promises.ts';
import { Limiter } from '../../lib/turns.ts';
import type { Platform } from '../../oci/platform.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { wantedImages } from '../images/wanted.ts';
import type { WarmEvent, WarmSummary, OperationRun, ImagesRequest } from '../protocol.ts';
import { WarmImage, type WarmImageOptions, WarmTally } from './image.ts';
import { planWarming, findWarmTarget, type WarmTarget } from './plan.ts';

export interface ImageWarmerOptions extends Omit<WarmImageOptions, 'fills' | 'tally' | 'signal'> {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  /** The platforms of the settings, for requests without platforms. */
  readonly platforms: readonly Platform[];
  /** `fills`: blobs that are downloaded at a time, for clients too. */
  readonly maxFills: number;
}

type Run = OperationRun<WarmEvent>;

/** Several images at a time hide the round trips to upstream. More would not be faster, and would delay clients. */
const IMAGES_AT_ONCE = 4;
const FILLS_AT_ONCE = 8;
const PROGRESS_MS = 250;

/**
 * Downloads images into the cache. Pulls manifests as a client does; blobs wait behind those of clients. Skips cached parts,
 * so an interrupted request can be repeated.
 */
export class ImageWarmer {
  readonly #options: ImageWarmerOptions;

  constructor(options: ImageWarmerOptions) {
    this.#options = options;
  }

  /** Throws OperationError. */
  async run(request: ImagesRequest, run: Run): Promise<WarmSummary> {
    const startedAt = performance.now();
    const wanted = wantedImages(request, this.#options.platforms);
    const targets = await each(wanted, run, (image) => findWarmTarget(image, this.#options));
    const plan = await planWarming(targets, { ...this.#options, signal: run.signal });
    run.onEvent({ kind: 'plan', plan });
    const tally = new WarmTally(targets.length, this.#options.puller);
    const images = await this.#warm(targets, run, tally);
    return {
      images: images.map(({ result }) => result),
      pulls: tally.pulls,
      bytes: tally.fetchedBytes,
      durationMs: Math.round(performance.now() - startedAt),
    };
  }

  async #warm(targets: readonly WarmTarget[], run: Run, tally: WarmTally): Promise<WarmImage[]> {
    const fills = new Limiter(Math.min(this.#options.maxFills, FILLS_AT_ONCE));
    const tellProgress = (): void => run.onEvent({ kind: 'progress', ...tally.progress });
    const timer = setInterval(tellProgress, PROGRESS_MS);
    try {
      const images = await each(targets, run, async (target) => {
        const image = new WarmImage(target, { ...this.#options, fills, tally, signal: run.signal });
        await image.run();
        tally.imageIsOver();
        run.onEvent({ kind: 'image', image: image.result });
        return image;
      });
      for (const image of images) await image.requireStill();
      return images;
    } finally {
      clearInterval(timer);
      tellProgress();
    }
  }
}

/** Works on `IMAGES_AT_ONCE` items at a time. Results are in the order of `items`. */
function each<T, R>(items: readonly T[], { signal }: Run, work: (item: T) => Promise<R>): Promise<R[]> {
  const limiter = new Limiter(IMAGES_AT_ONCE);
  const all = items.map((item) =>
    limiter.run(async () => {
      signal.throwIfAborted();
      return work(item);
    }),
  );
  return unlessAborted(Promise.all(all), signal);
}
