mod cloudinary;
mod get;
mod private;
mod quota;
mod rejected;
mod upload;
mod videos;
