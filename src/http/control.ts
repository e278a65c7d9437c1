import type { RequestListener } from 'node:http';
import type { Operations } from '../pull/operations.ts';
import { lazyListener } from './lazy-listener.ts';

export interface ControlOptions {
  readonly operations: Operations;
  /** Of this program, for messages. */
  readonly version: string;
  /** Called with errors that are faults of this program. */
  readonly onInternalError: (error: unknown) => void;
}

/** What answers at the control socket. */
export interface Control {
  readonly listener: RequestListener;
  /** Takes nothing new; resolves when what runs has ended by itself. */
  drain(): Promise<void>;
  /** Takes nothing new and ends what runs; resolves when it has. */
  stop(): Promise<void>;
}

/** Control whose routes are loaded once a command asks for something. */
export function createControl(options: ControlOptions): Control {
  let routes: Promise<Control> | undefined;
  let isClosed = false;
  const load = async (): Promise<Control> => {
    const { createControlRoutes } = await import('./control-routes.ts');
    const loaded = createControlRoutes(options);
    if (isClosed) void loaded.drain();
    return loaded;
  };
  const close = async (how: 'drain' | 'stop'): Promise<void> => {
    isClosed = true;
    const loaded = await routes?.catch(() => undefined);
    await loaded?.[how]();
  };
  return {
    listener: lazyListener(async () => (await (routes = load())).listener, options.onInternalError),
    drain: () => close('drain'),
    stop: () => close('stop'),
  };
}
