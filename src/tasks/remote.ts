import { crashPoint } from '../db/steps/crash-point.ts';

/**
 * One request of a step to the ACME server; every such request goes through here, under a name of its
 * own, so that the tests can end the process right before and right after it.
 */
export async function remote<T>(name: string, send: () => Promise<T>): Promise<T> {
  crashPoint(`${name}.sending`);
  const answer = await send();
  crashPoint(`${name}.sent`);
  return answer;
}
