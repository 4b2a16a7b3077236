"""Training views: images with their labels, read and augmented as the source frameworks do it.

One pipeline for all of them. A framework's style is a module of its own (`mmdet`, `ultralytics`, `jwyang`,
`paddle`): the rules by which it reads COCO's annotations, and the list of operations that its views are made by.
"""
