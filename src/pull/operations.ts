import type { ImportProgress, ImportRequest, ImportSummary } from './bundle-operations.ts';
import type { ImageRequest, Pinned, RemovedImage, Unpinned } from './image-operations.ts';
import type { Resolution, ResolveRequest } from './image-resolution.ts';
import type { WarmEvent, WarmSummary } from './image-warming.ts';
import type { Refreshed } from './tag-refresh.ts';
import type { VerifyEvent, VerifyRequest, VerifySummary } from './verification.ts';
import type { ImagesRequest } from './wanted-images.ts';

export type FlushRequest = Readonly<Record<string, never>>;
export type Flushed = Readonly<Record<string, never>>;

/** How an operation is watched and ended by whoever asked for it. */
export interface OperationRun<E> {
  /** Ends the operation, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: E) => void;
}

/** One thing that a command asks for. What goes in and comes out is JSON: it may be done in another process. */
export type Operation<Q, E, R> = (request: Q, run: OperationRun<E>) => Promise<R>;

/** One that is given bytes besides, which may be as many as they like. */
export type IntakeOperation<Q, E, R> = (
  request: Q,
  run: OperationRun<E>,
  bytes: AsyncIterable<Buffer>,
) => Promise<R>;

/** What commands can have done on a data directory, by whoever owns it. All throw OperationError. */
export interface Operations {
  readonly verify: Operation<VerifyRequest, VerifyEvent, VerifySummary>;
  readonly resolve: Operation<ResolveRequest, never, Resolution>;
  readonly pin: Operation<ImageRequest, never, Pinned>;
  readonly unpin: Operation<ImageRequest, never, Unpinned>;
  readonly remove: Operation<ImageRequest, never, RemovedImage>;
  readonly refresh: Operation<ImageRequest, never, Refreshed>;
  readonly warm: Operation<ImagesRequest, WarmEvent, WarmSummary>;
  /** Writes what is noted in memory, so that commands which read the index see all that has happened. */
  readonly flush: Operation<FlushRequest, never, Flushed>;
  readonly import: IntakeOperation<ImportRequest, ImportProgress, ImportSummary>;
}

export type OperationName = keyof Operations;
export type RequestOf<N extends OperationName> = Parameters<Operations[N]>[0];
export type EventOf<N extends OperationName> = Parameters<Parameters<Operations[N]>[1]['onEvent']>[0];
export type ResultOf<N extends OperationName> = Awaited<ReturnType<Operations[N]>>;

/**
 * - `usage`: the request is wrong, and stays so.
 * - `not-found`: what it names is not cached.
 * - `busy`: the like is being done already.
 * - `stopped`: the process that did it is ending.
 * - `protocol`: the process that owns the data directory speaks another protocol than this one.
 * - `failed`: anything else.
 */
export type OperationErrorCode = 'usage' | 'not-found' | 'busy' | 'stopped' | 'protocol' | 'failed';

/** `message` is for the people who ask, who may know everything. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  readonly code: OperationErrorCode;

  constructor(code: OperationErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
