import type { IncomingHttpHeaders } from 'node:http';
import { withDeadline } from '../support/wait.ts';

export type HostName = 'registry' | 'token' | 'blobs';
export type RequestKind = 'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'token' | 'other';

/** What a request names, read off its path. */
export interface RequestTarget {
  readonly kind: RequestKind;
  readonly repository?: string;
  /** Tag or digest; the digest on the blob host too. */
  readonly reference?: string;
}

/** One request that reached the stand-in; the fake keeps `status`, `bytesSent` and `closed` up to date. */
export interface LoggedRequest extends RequestTarget {
  readonly host: HostName;
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as sent, so that repeated lines show. */
  readonly rawHeaders: readonly string[];
  /** Milliseconds since 1970 at arrival. */
  readonly at: number;
  /** Undefined until the head of the answer goes out, and for good if the client never got one. */
  status: number | undefined;
  /** Body bytes handed to the kernel. */
  bytesSent: number;
  /** The user that the accepted token or password belongs to, or `anonymous`; undefined if none was accepted. */
  identity: string | undefined;
  /** The answer was sent to its end, or its connection is gone. */
  closed: boolean;
}

/** Fields that must all be equal; a field left out matches everything. */
export interface RequestFilter {
  readonly host?: HostName;
  readonly kind?: RequestKind;
  readonly method?: string;
  readonly repository?: string;
  readonly reference?: string;
}

export function matches(request: LoggedRequest, filter: RequestFilter): boolean {
  return (
    (filter.host === undefined || filter.host === request.host) &&
    (filter.kind === undefined || filter.kind === request.kind) &&
    (filter.method === undefined || filter.method === request.method) &&
    (filter.repository === undefined || filter.repository === request.repository) &&
    (filter.reference === undefined || filter.reference === request.reference)
  );
}

/** Something that no well-behaved client does. */
export interface Violation {
  readonly reason: string;
  readonly request: LoggedRequest;
}

/** Every request in order of arrival, and who waits for one. */
export class RequestLog {
  readonly requests: LoggedRequest[] = [];
  readonly violations: Violation[] = [];
  readonly #watchers = new Set<() => void>();

  add(request: LoggedRequest): void {
    this.requests.push(request);
    this.changed();
  }

  /** To be called whenever a logged request has changed. */
  changed(): void {
    for (const watcher of this.#watchers) watcher();
  }

  count(filter: RequestFilter): number {
    return this.requests.filter((request) => matches(request, filter)).length;
  }

  clear(): void {
    this.requests.length = 0;
    this.violations.length = 0;
  }

  /** The first request, past or to come, that `predicate` holds for; asked again whenever a request changes. */
  async waitFor(predicate: (request: LoggedRequest) => boolean, label: string): Promise<LoggedRequest> {
    let watcher: () => void = () => undefined;
    const found = new Promise<LoggedRequest>((resolve) => {
      watcher = () => {
        const request = this.requests.find(predicate);
        if (request !== undefined) resolve(request);
      };
    });
    this.#watchers.add(watcher);
    watcher();
    try {
      return await withDeadline(found, label);
    } finally {
      this.#watchers.delete(watcher);
    }
  }
}
