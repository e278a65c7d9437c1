import type { FleetWorkEnd, Tell } from '../../events/events.ts';
import { runningTime } from '../../lib/clock.ts';
import { parseJson } from '../../lib/json.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor, Manifest } from '../../oci/manifest.ts';
import type { Reference, Repository } from '../../oci/reference.ts';
import type { FleetLock, Lease, ManifestStore } from '../../store/manifests.ts';
import { PullError, type PullErrorCode } from '../answer/errors.ts';

export interface FleetSingleFlightOptions {
  /** Undefined: there is no fleet. */
  readonly lock: FleetLock | undefined;
  /** The longest that another server is waited for. */
  readonly maxWaitMs: number;
  readonly tell: Tell<'fleetWork'>;
}

export interface FlightWork<T> {
  /** Looks for what another server may have put into the shared store. */
  readonly find: () => Promise<T | undefined>;
  /** What is to be done by one server only. Its PullErrors are told to those who wait. */
  readonly work: () => Promise<T>;
}

/** Releases are published; asking again is for when a message is lost or a server dies. */
const POLL_MS = 100;
/**
 * One who has waited for longer than this has no time left to try for himself what another failed at; unless that was
 * late: then each asks once more, by the lock as before (see lib/single-flight.ts).
 */
const PATIENCE_MS = 2000;
/** What upstream says of content holds for every server; what a server says of its way to upstream does not. */
const ABSENT: readonly PullErrorCode[] = ['manifest-unknown', 'repository-unknown'];

/** Has work done by one server of a fleet at a time; the others wait for it, within bounds, and use what it stored. */
export class FleetSingleFlight {
  readonly #options: FleetSingleFlightOptions;
  #waiting = 0;

  constructor(options: FleetSingleFlightOptions) {
    this.#options = options;
  }

  /** Works that wait for another server. */
  get waiting(): number {
    return this.#waiting;
  }

  /** What `find` or `work` resolves to. Throws what `work` throws, here or at the server that did it. */
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
      const isFinal = failure !== undefined && (ABSENT.includes(failure.code) || waitedMs > PATIENCE_MS);
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

  /** The lock is ours. Between our looking into the store and our taking it another server may have finished. */
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

/** The error that another server had; undefined if it had none. */
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

export interface FleetLookupOptions {
  readonly store: ManifestStore;
  readonly now: () => number;
}

export interface News {
  readonly descriptor: Descriptor;
  /** Whether the repository is known to hold that. What another server says that a tag names does not prove it. */
  readonly isProven: boolean;
  /** Undefined: only a HEAD has told what the tag names. */
  readonly manifest: Manifest | undefined;
}

/** What was checked so short a time before is as good as what is checked now: another server was a little faster. */
const SLACK_MS = 1000;

/** Whether another server of the fleet has just learnt what this one is about to ask upstream. */
export class FleetLookup {
  readonly #options: FleetLookupOptions;

  constructor(options: FleetLookupOptions) {
    this.#options = options;
  }

  /** Gives a function that looks whether what `reference` names has become known since about now. */
  watch(repository: Repository, reference: Reference): () => Promise<News | undefined> {
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
