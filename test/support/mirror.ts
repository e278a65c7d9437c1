import type { Addition } from '../fake/hub.ts';
import { startPierhead, type Pierhead } from './pierhead.ts';
import { checkNothingSecret } from './secrets.ts';
import type { TestUpstream, UpstreamKind } from './upstreams.ts';

export interface MirrorOptions {
  readonly kind: UpstreamKind;
  readonly content: readonly Addition[];
  /** Of Pierhead, by environment name without its prefix. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Pierhead in front of an upstream that holds some content. */
export interface Mirror {
  readonly pierhead: Pierhead;
  readonly upstream: TestUpstream;
  /** Ends both. Throws if Pierhead did not end well, did to upstream what none ought to do, or printed a secret. */
  close(): Promise<void>;
}

export async function startMirror({ kind, content, settings = {} }: MirrorOptions): Promise<Mirror> {
  const upstream = await kind.start(content);
  const pierhead = await startPierhead({ upstreamUrl: upstream.url, settings }).catch(
    async (error: unknown) => {
      await upstream.close();
      throw error;
    },
  );
  return {
    pierhead,
    upstream,
    async close() {
      const status = await pierhead.stop();
      const kept = await pierhead.filesWith(upstream.secrets());
      await pierhead.close();
      await upstream.close();
      checkNothingSecret(pierhead.output, upstream.secrets());
      const faults = [
        ...upstream.violations(),
        ...kept.map((file) => `${file} holds a secret`),
        ...(status === 0 ? [] : [`Pierhead ended with ${status}`]),
      ];
      if (faults.length > 0) throw new Error(faults.join('\n'));
    },
  };
}
