import type { Platform } from '../oci/platform.ts';

/** Who asks, as far as that decides what is served by tag. */
export interface PullClient {
  /** Its network address. */
  readonly address: string;
  /** All its Accept lines, joined by commas: the manifests that it can take. */
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
  /** From `?platform=`: a list is always resolved. */
  readonly platform: Platform | undefined;
  /** What the settings say of its network. */
  readonly rule: PlatformRule | undefined;
}

/** What holds for the clients of a network. */
export interface PlatformRule {
  readonly platform?: Platform;
  /** `always`: a list is resolved for clients that take lists, too. */
  readonly resolve?: 'always' | 'negotiate';
}
