import type { Listener, Tell } from '../../src/events/events.ts';

export const tellNobody: Tell = () => undefined;

/** Tells one listener. An error that it throws fails the test. */
export function tellTo(listener: Listener): Tell {
  return (name, event) => listener[name]?.(event);
}
