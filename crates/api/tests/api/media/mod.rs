mod cloudinary;
mod get;
mod private;
mod rejected;
mod upload;
mod videos;
