import type { FleetWorkEnd, Tell } from '../../events/events.ts';
import { runningTime } from '../../lib/clock.ts';
import { parseJson } from '../../lib/json.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor, Manifest } from '../../oci/manifest.ts';
import type { Reference, Repository } from '../../oci/reference.ts';
import type { FleetLock, Lease } from '../../store/fleet-lock.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import { PullError, type PullErrorCode } from '../answer/errors.ts';

export interface FleetSingleFlightOptions {
  /** Undefined: there is no fleet. */
  readonly lock: FleetLock | undefined;
  /** Time limit for the work of another server. */
  readonly maxWaitMs: number;
  readonly tell: Tell<'fleetWork'>;
}

export interface FlightWork<T> {
  /** Looks for a result in the shared store. */
  readonly find: () => Promise<T | undefined>;
  /** The work for one server. The other servers get its PullErrors. */
  readonly work: () => Promise<T>;
}

/** Releases are published. Polling is for lost messages and dead servers. */
const POLL_MS = 100;
/**
 * After a longer wait, a server has no time to repeat work that failed elsewhere, so it passes the error on. After a
 * timeout each server tries once more, with the lock (see lib/single-flight.ts).
 */
const RETRY_WITHIN_MS = 2000;
/** "Not found" applies to every server. Other failures may be of one server's connection only. */
const ABSENT: readonly PullErrorCode[] = ['manifest-unknown', 'repository-unknown'];

/** Lets one server of a fleet do some work. The other servers wait for its result in the shared store. */
export class FleetSingleFlight {
  readonly #options: FleetSingleFlightOptions;
  #waiting = 0;

  constructor(options: FleetSingleFlightOptions) {
    this.#options = options;
  }

  /** Number of callers that wait for another server. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The result of `find` or `work`. Throws the error of `work`, from this server or another one. */
  async run<T>(key: string, { find, work }: FlightWork<T>): Promise<T> {
    const { lock, maxWaitMs } = this.#options;
    if (lock === undefined) return work();
    let startedAt = runningTime.now();
    let end: FleetWorkEnd = 'first';
    let wasLate = false;
    for (let isFirst = true; ; isFirst = false) {
      const taken = await (isFirst ? lock.take(key) : lock.retake(key));
      const waitedMs = runningTime.now() - startedAt;
      if (taken === 'alone' || (taken === 'held' && waitedMs >= maxWaitMs)) {
        this.#ended(taken === 'alone' ? 'alone' : 'late');
        return work();
      }
      if (taken !== 'held') return this.#work(taken, end, { find, work });
      this.#waiting++;
      const message = await lock.released(key, Math.min(POLL_MS, maxWaitMs - waitedMs));
      this.#waiting--;
      const failure = message === undefined ? undefined : failureIn(message);
      const asksAgain = failure?.isLate === true && !wasLate;
      const isFinal = failure !== undefined && (ABSENT.includes(failure.code) || waitedMs > RETRY_WITHIN_MS);
      if (asksAgain) {
        wasLate = true;
        startedAt = runningTime.now();
      } else if (isFinal) {
        this.#ended('told');
        throw failure;
      }
      end = message === undefined ? 'takeover' : 'second';
      const found = message === undefined ? undefined : await find();
      if (found !== undefined) {
        this.#ended('spared');
        return found;
      }
    }
  }

  /** With the lock. Another server may have finished just before, so `find` comes first. */
  async #work<T>(lease: Lease, end: FleetWorkEnd, { find, work }: FlightWork<T>): Promise<T> {
    let message = '';
    try {
      const found = await find();
      this.#ended(found === undefined ? end : 'spared');
      return found ?? (await work());
    } catch (error) {
      if (error instanceof PullError && !error.noStore)
        message = JSON.stringify({ code: error.code, message: error.message, isLate: error.isLate });
      throw error;
    } finally {
      lease.release(message);
    }
  }

  #ended(end: FleetWorkEnd): void {
    this.#options.tell('fleetWork', { end });
  }
}

/** The error of another server; undefined if it succeeded. */
function failureIn(text: string): PullError | undefined {
  try {
    const { code, message, isLate } = parseJson(text) as { [key: string]: unknown };
    const known = [...ABSENT, 'unavailable' as const].find((each) => each === code);
    if (known === undefined || typeof message !== 'string') return undefined;
    return new PullError(known, message, { isLate: isLate === true });
  } catch {
    return undefined;
  }
}

/** What another server has learnt from upstream. */
export interface FleetAnswer {
  readonly descriptor: Descriptor;
  /** Whether a link proves that the repository holds the manifest. A tag from another server is no proof. */
  readonly isProven: boolean;
  /** Undefined: the other server sent a HEAD only. */
  readonly manifest: Manifest | undefined;
}

/** An answer that is at most this old counts as new. */
const SLACK_MS = 1000;

/** Looks in the shared store for a new answer of another server, in place of asking upstream. */
export class FleetLookup {
  readonly #options: { readonly store: ManifestStore; readonly now: () => number };

  constructor(options: { readonly store: ManifestStore; readonly now: () => number }) {
    this.#options = options;
  }

  /** Returns a function that finds an answer for `reference` from about now on. */
  finder(repository: Repository, reference: Reference): () => Promise<FleetAnswer | undefined> {
    const { store, now } = this.#options;
    const isProven = async (digest: Digest): Promise<boolean> =>
      (await store.getLink(repository, digest)) !== undefined;
    if (reference.kind === 'digest') {
      const { digest } = reference;
      return async () => {
        const manifest = await store.getManifest(digest);
        if (manifest === undefined) return undefined;
        return { descriptor: manifest.descriptor, isProven: await isProven(digest), manifest };
      };
    }
    const notBefore = now() - SLACK_MS;
    return async () => {
      const record = await store.getTag(repository, reference.tag, notBefore);
      if (record === undefined || record.checkedAt <= notBefore || record.failure !== undefined)
        return undefined;
      const { descriptor } = record;
      const manifest = await store.getManifest(descriptor.digest);
      return { descriptor, isProven: await isProven(descriptor.digest), manifest };
    };
  }
}
