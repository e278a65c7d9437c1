import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

/**
 * A listener that is loaded when it is first asked: its framework takes megabytes and a twentieth of a second, which
 * nobody who starts a server should wait for. `onFault` hears why it could not be loaded; the request is then cut off,
 * and the next one tries again.
 */
export function lazyListener(
  load: () => Promise<RequestListener>,
  onFault: (error: unknown) => void,
): RequestListener {
  let loading: Promise<RequestListener> | undefined;
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const listener = await (loading ??= load());
      // One whose client has gone meanwhile would not hear of it.
      if (!response.destroyed) listener(request, response);
    } catch (error) {
      loading = undefined;
      onFault(error);
      response.destroy();
    }
  }
  return (request, response) => void answer(request, response);
}
