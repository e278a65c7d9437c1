import type { OciErrorCode } from '../oci/errors.ts';

/** A request that cannot be served whatever the cache and upstream hold. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code = 'request';
  readonly status: number;
  readonly ociCode: OciErrorCode;

  constructor(status: number, ociCode: OciErrorCode, message: string) {
    super(message);
    this.status = status;
    this.ociCode = ociCode;
  }
}
