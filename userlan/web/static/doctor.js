export function mount(container, context) {
  return () => {};
}
