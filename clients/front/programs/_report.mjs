/** Each call of a client is one line of JSON on stdout: whether it works, and why not. */
export const URL_ = process.env.SERVICE_URL;
export const KEY = process.env.SERVICE_KEY;

export async function call(name, act) {
  try {
    await act();
    console.log(JSON.stringify({ call: name, why: null }));
  } catch (error) {
    console.log(JSON.stringify({ call: name, why: `${error?.name}: ${error?.message}`.slice(0, 300) }));
  }
}

export function check(is, what) {
  if (!is) throw new Error(`not so: ${what}`);
}
