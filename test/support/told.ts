import { tellAll, type Listener, type Tell } from '../../src/events/events.ts';

export const tellNobody: Tell = () => undefined;

/** Tells one who listens to what the test is about. */
export function tellTo(listener: Listener): Tell {
  return tellAll([listener]);
}
