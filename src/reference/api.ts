import { cacheStatusHeader } from '../http/registry/headers.ts';
import type { OciErrorCode } from '../http/registry/errors.ts';
import { statusOf } from '../http/admin/routes.ts';
import type { CacheStatus } from '../mirror/answer/answers.ts';
import { OperationError, type OperationErrorCode, type OperationName } from '../operations/protocol.ts';
import { code, table } from './markdown.ts';

/* Each record has a line for every member of its type. So a new member does not compile without a line here. */

const CACHE_STATUS: Readonly<Record<CacheStatus, string>> = {
  hit: 'from the cache, fresh',
  revalidated: 'from the cache, after a tag check just now',
  stale: 'from the cache, although the tag check failed; see `Warning` and `Age`',
  stored: 'downloaded and cached',
  collapsed: 'from a download that another request had started',
  bypass: 'downloaded and not cached',
  miss: 'from the upstream, nothing to cache: a HEAD, or an error',
  negative: 'a remembered 404 (`negativeTtl`)',
  local: 'without cache and upstream: ping, health, errors of the request',
};

const ERROR_CODES: Readonly<Record<OciErrorCode, readonly [statuses: string, meaning: string]>> = {
  NAME_UNKNOWN: ['404', 'the upstream has no such repository, or refuses it; no such path'],
  NAME_INVALID: ['404', 'the repository name is malformed'],
  MANIFEST_UNKNOWN: ['404', 'no such manifest, or none for the platform of the client'],
  BLOB_UNKNOWN: ['404', 'no such blob; in `failMode: fallthrough` also a blob that cannot be downloaded now'],
  DIGEST_INVALID: ['400', 'the digest is malformed'],
  SIZE_INVALID: ['416', 'the range lies beyond the blob'],
  UNAUTHORIZED: ['401', '`authListen` only: no account, or a wrong password or token'],
  DENIED: [
    '403',
    'not allowed: `allowNetworks`, `authNetworks`, `tlsClientCa`, `allow`, `deny`, `accounts`; in `failMode: strict` an outage, to a Docker Engine without the containerd store',
  ],
  TOOMANYREQUESTS: ['429', 'more than `requestRate`; `Retry-After` says when to ask again'],
  UNAVAILABLE: [
    '503',
    'not cached, and the upstream is unreachable or limits Pierhead; too many password checks wait',
  ],
  UNSUPPORTED: ['400, 405, 408, 431', 'a request that cannot be read, a wrong parameter, or a write'],
  UNKNOWN: ['500', 'a fault of Pierhead'],
};

const OPERATION_ERRORS: Readonly<Record<OperationErrorCode, string>> = {
  usage: 'the request is wrong',
  protocol: 'the server speaks another version of the control protocol',
  'not-found': 'the image is not cached',
  busy: 'the same operation runs already',
  failed: 'any other error',
  stopped: 'the server is stopping',
};

interface OperationText {
  readonly does: string;
  readonly request: string;
  readonly events?: string;
  readonly result: string;
}

const IMAGE = '{ "image": … }';

const OPERATIONS: Readonly<Record<OperationName, OperationText>> = {
  resolve: {
    does: 'resolves an image',
    request: '{ "image": …, "platform"?: …, "fetch"?: bool }',
    result: 'as `resolve --json`',
  },
  refresh: { does: 'checks a tag', request: IMAGE, result: 'as `POST /api/v1/refresh`' },
  pin: { does: 'pins an image', request: IMAGE, result: '`image`' },
  unpin: { does: 'removes a pin', request: IMAGE, result: '`image`, `wasPinned`' },
  remove: {
    does: 'removes an image',
    request: IMAGE,
    result: '`image`, `manifests`, `blobs`, `bytes`',
  },
  warm: {
    does: 'downloads images',
    request: '{ "images": [ … ], "platforms"?: [ … ] }',
    events: '`kind`: `plan`, `progress` or `image`',
    result: 'as `warm --json`',
  },
  import: {
    does: 'imports the bundle in the body; the request is in the query',
    request: '{ "pin"?: bool, "publicKey"?: … }',
    events: '`images`, `blobs`, `totalBlobs`, `bytes`, `totalBytes`',
    result: 'as an item of `import --json`',
  },
  verify: {
    does: 'hashes all content',
    request: '{ "repair": bool }',
    events: '`kind`: `progress` or `finding`',
    result: 'as `verify --json`, without `findings`',
  },
  flush: { does: 'writes history entries that are only in memory', request: '{}', result: 'an empty object' },
};

/** Tables of answers, errors and operations in Markdown. */
export function apiSections(): Readonly<Record<string, string>> {
  const statuses = Object.keys(CACHE_STATUS) as CacheStatus[];
  const errors = Object.keys(OPERATION_ERRORS) as OperationErrorCode[];
  return {
    'cache status': table([
      ['`cache` in log and metrics', '`Cache-Status`', 'the answer is'],
      ...statuses.map((each) => [code(each), code(cacheStatusHeader(each)), CACHE_STATUS[each]]),
    ]),
    'error codes': table([
      ['code', 'status', 'cause'],
      ...Object.entries(ERROR_CODES).map(([each, [status, cause]]) => [code(each), status, cause]),
    ]),
    'operation errors': table([
      ['code', 'status', 'cause'],
      ...errors.map((each) => [
        code(each),
        String(statusOf(new OperationError(each, ''))),
        OPERATION_ERRORS[each],
      ]),
    ]),
    operations: table([
      ['operation', 'what it does', 'request', 'events', 'result'],
      ...Object.entries(OPERATIONS).map(([name, { does, request, events = 'none', result }]) => [
        code(name),
        does,
        code(request),
        events,
        result,
      ]),
    ]),
  };
}
