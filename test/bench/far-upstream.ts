import { startNginxUpstream } from './nginx-upstream.ts';
import { Lane, startPacedLink } from './paced-link.ts';

export interface FarUpstreamOptions {
  /** The registry that it is. */
  readonly registryUrl: string;
  /** Empty or not there. */
  readonly folder: string;
  readonly roundTripMs: number;
  readonly bytesPerSecond: number;
}

/** A registry as far away as Docker Hub, which like that one sends who asks for a blob on to another host. */
export interface FarUpstream {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startFarUpstream(options: FarUpstreamOptions): Promise<FarUpstream> {
  const { registryUrl, folder, roundTripMs } = options;
  const lane = new Lane(options.bytesPerSecond);
  const blobHost = await startPacedLink({ targetUrl: registryUrl, roundTripMs, lane });
  const front = await startNginxUpstream({
    name: 'front',
    folder,
    registryUrl,
    blobs: `if ($request_method = GET) { return 307 ${blobHost.url}$request_uri; }
      proxy_pass ${registryUrl};`,
  });
  const link = await startPacedLink({ targetUrl: front.url, roundTripMs, lane });
  return {
    url: link.url,
    async stop() {
      await Promise.all([link.stop(), blobHost.stop()]);
      await front.stop();
    },
  };
}
