/**
 * A fault of a bundle, or of a blob that is exported; `message` is for people.
 * - `not-a-bundle`, `version`: another kind of file, or a later version.
 * - `cut-short`, `corrupt`, `order`: files are missing, damaged, or in a wrong order.
 * - `base-missing`: blobs that `export --since` left out are not cached.
 * - `signature`: the bundle is not signed, or not by the required key.
 * - `changed`: a blob was removed during the export, or is damaged on disk.
 */
export type BundleErrorCode =
  'not-a-bundle' | 'version' | 'cut-short' | 'corrupt' | 'order' | 'base-missing' | 'signature' | 'changed';

export class BundleError extends Error {
  override readonly name = 'BundleError';
  readonly code: BundleErrorCode;

  constructor(code: BundleErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
