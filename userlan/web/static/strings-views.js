// What services, paths, map, plot, doctor and sharing say.

export const VIEWS = {
};
