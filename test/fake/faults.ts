import { Gate } from './gate.ts';
import { matches, type LoggedRequest, type RequestFilter } from './log.ts';

/** What goes wrong with one answer. Fields combine where that makes sense; offsets are bytes of the body sent. */
export interface FaultAction {
  /** This answer instead of the true one. */
  readonly status?: {
    readonly code: number;
    readonly body?: string | Buffer;
    readonly headers?: Readonly<Record<string, string>>;
  };
  /** Docker Hub's abuse limit: 429 in plain text, to whoever asks too fast. */
  readonly abuseLimit?: { readonly retryAfterSeconds?: number };
  /** What a captive portal says to everything: 200 and a page of HTML. */
  readonly html?: true;
  /** 307 to this URL. */
  readonly redirectTo?: string;
  /** 405 if the method is HEAD. */
  readonly headMethodNotAllowed?: true;
  /** 200 with a body of this many bytes, chunked. */
  readonly hugeBody?: number;
  /** These bytes in place of an HTTP answer, then the end of the connection. */
  readonly raw?: string | Buffer;
  /** The request is taken and never answered. */
  readonly hang?: true;
  /** The connection ends before any byte of an answer. */
  readonly hangUp?: ConnectionEnd;
  readonly delayHeadersMs?: number;
  /** The head of the answer waits for `release()` of the fault. */
  readonly holdHeaders?: true;
  /** The connection ends after so many bytes of the body, by FIN unless `cutBy` says otherwise. */
  readonly cutAfterBytes?: number;
  readonly cutBy?: ConnectionEnd;
  /** The body stops after so many bytes until `release()` of the fault. */
  readonly stallAfterBytes?: number;
  /** The byte at this offset of the blob is flipped, if the answer covers it. */
  readonly corruptAt?: number;
  /** The body ends in good order after so many bytes; its Content-Length says so, or there is none. */
  readonly truncate?: { readonly toBytes: number; readonly contentLength: 'short' | 'absent' };
  readonly noContentLength?: true;
  /** A `Content-Encoding` label on bytes that are not encoded. */
  readonly contentEncoding?: string;
  /** A range request is answered with 200 and the whole. */
  readonly ignoreRange?: true;
  /** A range request is answered with this status. */
  readonly refuseRange?: number;
  readonly wrongDigestHeader?: true;
  readonly noDigestHeader?: true;
  readonly throttleBytesPerSecond?: number;
}

export type ConnectionEnd = 'fin' | 'rst';

export interface FaultRule {
  /** To hit the bodies of redirected blobs and not the redirects, name the host `blobs`. */
  readonly match?: RequestFilter;
  /** How many requests it hits; without it, all. */
  readonly times?: number;
  /** How many matching requests it lets pass first. */
  readonly after?: number;
  readonly do: FaultAction;
}

/** A fault that was set. */
export interface Fault {
  readonly action: FaultAction;
  /** Requests hit so far. */
  readonly hits: number;
  /** Resolves when the first answer is held by `holdHeaders` or `stallAfterBytes`. */
  readonly reached: Promise<void>;
  /** Lets go what `holdHeaders` or `stallAfterBytes` holds, now and later. */
  release(): void;
  /** No further request is hit. */
  remove(): void;
}

/** The part of a fault that the answering side uses. */
export interface ActiveFault {
  readonly action: FaultAction;
  readonly gate: Gate;
}

interface Entry extends ActiveFault {
  readonly rule: FaultRule;
  seen: number;
  hits: number;
}

/** The faults that are set. The first one set that matches a request and is not used up takes it. */
export class FaultBook {
  readonly #entries = new Set<Entry>();

  add(rule: FaultRule): Fault {
    const gate = new Gate(`the fault on ${JSON.stringify(rule.match ?? 'every request')}`);
    const entry: Entry = { rule, action: rule.do, gate, seen: 0, hits: 0 };
    this.#entries.add(entry);
    return {
      action: rule.do,
      get hits() {
        return entry.hits;
      },
      get reached() {
        return gate.reached;
      },
      release: () => gate.release(),
      remove: () => void this.#entries.delete(entry),
    };
  }

  take(request: LoggedRequest): ActiveFault | undefined {
    for (const entry of this.#entries) {
      const { match = {}, times = Infinity, after = 0 } = entry.rule;
      if (!matches(request, match) || entry.hits >= times) continue;
      entry.seen += 1;
      if (entry.seen <= after) continue;
      entry.hits += 1;
      return entry;
    }
    return undefined;
  }

  /** Removes every fault and lets go what they hold. */
  clear(): void {
    for (const entry of this.#entries) entry.gate.release();
    this.#entries.clear();
  }
}
