mod events;
mod sessions;
